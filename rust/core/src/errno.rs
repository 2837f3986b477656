//! Linux's error numbers, as maps and helpers return them.

use std::fmt;

/// A positive Linux error number. Programs see its negative, Python an `OSError`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text]
            pub const $name: Errno = Errno($value);)*

            /// The symbolic name, or `"?"` for a number that no part of axebpf returns.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => stringify!($name),)* _ => "?" }
            }

            /// What the number means.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self.0 { $($value => $text,)* _ => "unknown error" }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such entry";
    EINTR = 4, "interrupted";
    E2BIG = 7, "too big, or the map is full";
    EBADF = 9, "bad descriptor";
    EAGAIN = 11, "no room at the moment";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "access not permitted";
    EFAULT = 14, "bad address";
    EBUSY = 16, "busy";
    EEXIST = 17, "the entry exists already";
    EINVAL = 22, "invalid argument";
    ENOSPC = 28, "no space left";
    ERANGE = 34, "out of range";
    EDEADLK = 35, "deadlock avoided";
    EOPNOTSUPP = 95, "operation not supported";
    ENOTRECOVERABLE = 131, "the library behind this map panicked";
    ENOTSUPP = 524, "operation not supported by this kind of map";
}

impl Errno {
    /// The value that a helper returns in `r0`: the negative number, sign-extended to 64 bits.
    #[must_use]
    pub const fn to_r0(self) -> u64 {
        (-(self.0 as i64)) as u64
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.text())
    }
}

impl std::error::Error for Errno {}
