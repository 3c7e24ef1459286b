//! Closed label sets and the families of handles made from them.

/// An enum that is a label: all its values and their names.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: [$name; [$($text),*].len()] = [$($name::$variant),*];

            /// The value as it stands on the metric.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }
    };
}

pub(super) use label;
