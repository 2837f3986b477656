"""The seed's modules under their names: what its README says, what its tests tested, and its defects.

A test that answers one of the seed's names it in its first line, or names the decision that took its place.
"""
