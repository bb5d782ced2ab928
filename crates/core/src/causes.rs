/// `error` with its causes, parted by colons.
pub fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the list")]
    struct Unread(#[source] io::Error);

    #[test]
    fn each_cause_follows_its_effect() {
        let error = Unread(io::Error::other("the disk is gone"));
        assert_eq!(with_causes(&error), "cannot read the list: the disk is gone");
        assert_eq!(with_causes(&io::Error::other("alone")), "alone");
    }
}
