//! How many files and sockets this process may have open.

use std::io;

/// Raises the limit to `wanted`, or as far as that goes without privileges, and returns what holds then. It is never
/// lowered.
///
/// # Errors
/// If the kernel, or a sandbox, does not allow it.
pub fn allow(wanted: u64) -> io::Result<u64> {
    let mut limit = uapi::getrlimit(uapi::c::RLIMIT_NOFILE as _)?;
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        uapi::setrlimit(uapi::c::RLIMIT_NOFILE as _, &limit)?;
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::allow;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let before = allow(0).expect("the limit");
        assert_eq!(allow(before).expect("the limit"), before);
        let most = allow(u64::MAX).expect("the limit");
        assert!(most >= before);
        assert_eq!(allow(10).expect("the limit"), most, "it is never lowered");
    }
}
