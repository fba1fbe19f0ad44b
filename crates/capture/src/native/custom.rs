//! Allocator functions that the user names: pools and arenas of a program's own.
//!
//! Owns: the words in which they are named. Must not know: where the functions are.

use super::image::Hook;

/// A function of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Custom {
    name: String,
    hook: Hook,
}

impl Custom {
    /// Its name, as symbol tables have it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub(crate) fn hook(&self) -> Hook {
        self.hook
    }

    /// Reads `fn=my_alloc,size=arg1`: a function that returns a block. With `ptr=` as well it resizes one.
    pub(crate) fn allocating(text: &str) -> Result<Self, String> {
        let fields = Fields::read(text, &["fn", "size", "ptr"])?;
        let hook = match (fields.ptr, fields.size) {
            (None, Some("arg1")) => Hook::NamedFirst,
            (None, Some("arg2")) => Hook::NamedSecond,
            (None, Some("arg3")) => Hook::NamedThird,
            (None, Some("arg1*arg2")) => Hook::NamedProduct,
            (None, Some("arg2*arg3")) => Hook::NamedProductSecond,
            (Some("arg1"), Some("arg2")) => Hook::NamedResizes,
            (Some("arg1"), Some("arg2*arg3")) => Hook::NamedResizesProduct,
            (Some("arg2"), Some("arg3")) => Hook::NamedResizesSecond,
            _ => {
                return Err(format!(
                    "`{text}`: expected size=arg1, arg2, arg3, arg1*arg2 or arg2*arg3, and with it ptr=arg1 or ptr=arg2 where the \
                     function resizes a block, for example `fn=pool_alloc,size=arg2`"
                ));
            }
        };
        Ok(Self { name: fields.function.to_owned(), hook })
    }

    /// Reads `fn=my_free,ptr=arg1`: a function that frees a block; without `ptr=` it is the first argument.
    pub(crate) fn freeing(text: &str) -> Result<Self, String> {
        let fields = Fields::read(text, &["fn", "ptr"])?;
        let hook = match fields.ptr {
            None | Some("arg1") => Hook::NamedFrees,
            Some("arg2") => Hook::NamedFreesSecond,
            Some("arg3") => Hook::NamedFreesThird,
            Some(_) => {
                return Err(format!("`{text}`: expected ptr=arg1, arg2 or arg3, for example `fn=pool_free,ptr=arg2`"));
            }
        };
        Ok(Self { name: fields.function.to_owned(), hook })
    }
}

#[derive(Debug)]
struct Fields<'text> {
    function: &'text str,
    size: Option<&'text str>,
    ptr: Option<&'text str>,
}

impl<'text> Fields<'text> {
    fn read(text: &'text str, allowed: &[&str]) -> Result<Self, String> {
        let mut fields = Fields { function: "", size: None, ptr: None };
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or(("fn", part));
            match key.trim() {
                key if !allowed.contains(&key) => {
                    return Err(format!("`{text}`: `{key}` is not one of {}", allowed.join(", ")));
                }
                "fn" => fields.function = value.trim(),
                "size" => fields.size = Some(value.trim()),
                _ => fields.ptr = Some(value.trim()),
            }
        }
        if fields.function.is_empty() {
            return Err(format!("`{text}` names no function (fn=NAME)"));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: Result<Custom, String>, expected: &str) {
        let found = match found {
            Ok(custom) => format!("{} {:?}", custom.name, custom.hook),
            Err(error) => error.split(':').nth(1).map_or(error.clone(), |rest| rest.trim().to_owned()),
        };
        assert!(found.starts_with(expected), "{found:?} instead of {expected:?}");
    }

    #[test]
    fn functions_that_allocate() {
        check(Custom::allocating("fn=my_alloc,size=arg1"), "my_alloc NamedFirst");
        check(Custom::allocating("fn=pool_alloc, size=arg2"), "pool_alloc NamedSecond");
        check(Custom::allocating("my_calloc,size=arg1*arg2"), "my_calloc NamedProduct");
        check(Custom::allocating("fn=grow,ptr=arg1,size=arg2"), "grow NamedResizes");
        check(Custom::allocating("fn=pool_grow,ptr=arg2,size=arg3"), "pool_grow NamedResizesSecond");
        check(Custom::allocating("fn=my_alloc"), "expected size=arg1");
        check(Custom::allocating("fn=my_alloc,size=arg4"), "expected size=arg1");
        check(Custom::allocating("size=arg1"), "`size=arg1` names no function");
        check(Custom::allocating("fn=f,size=arg1,count=2"), "`count` is not one of fn, size, ptr");
    }

    #[test]
    fn functions_that_free() {
        check(Custom::freeing("fn=my_free"), "my_free NamedFrees");
        check(Custom::freeing("my_free,ptr=arg1"), "my_free NamedFrees");
        check(Custom::freeing("fn=pool_free,ptr=arg2"), "pool_free NamedFreesSecond");
        check(Custom::freeing("fn=pool_free,ptr=arg3"), "pool_free NamedFreesThird");
        check(Custom::freeing("fn=pool_free,ptr=arg9"), "expected ptr=arg1");
        check(Custom::freeing("fn=pool_free,size=arg1"), "`size` is not one of fn, ptr");
        check(Custom::freeing(""), "`` names no function");
    }
}
