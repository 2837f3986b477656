//! How the list of rules becomes a type.

/// Defines the rules with their numbers and texts.
macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $number:literal $name:ident = $title:literal;)*) => {
        /// What a program has to keep; the list opens the module.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Rule { $($(#[doc = $doc])+ $name,)* }

        impl Rule {
            /// Every rule, by number.
            pub const ALL: &'static [Rule] = &[$(Rule::$name),*];

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u8 {
                match self { $(Rule::$name => $number,)* }
            }

            /// Its name, for reports and machines.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Rule::$name => $title,)* }
            }
        }
    };
}
pub(super) use rules;
