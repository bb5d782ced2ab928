//! The page for the people at the line: one file, which loads nothing from elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fmam_files::Digest;

/// The page, with its style and its program in it.
pub(crate) const PAGE: &str = include_str!("../assets/page.html");

/// The policy that lets a browser run the program and the style of the page, whose digests it
/// states, and nothing else: no address but this server, and images of the user's own.
pub(crate) fn policy() -> String {
    let digest = |tag| format!("'sha256-{}'", STANDARD.encode(Digest::of(inside(PAGE, tag)).as_bytes()));
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src 'self' blob: data:; media-src blob:; connect-src \
         'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest("script"),
        digest("style")
    )
}

/// The text of the one element `tag`.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
    let rest = page.split_once(&start).map_or("", |(_, rest)| rest);
    rest.split_once(&end).map_or("", |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_with_one_program_and_one_style() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(!inside(PAGE, tag).trim().is_empty(), "{tag}");
        }
        // Nothing that the policy would stop: attributes with a program or a style.
        for attribute in [" onclick=", " onload=", " style=", "javascript:"] {
            assert!(!PAGE.contains(attribute), "{attribute}");
        }
        for address in PAGE.match_indices("http").map(|(at, _)| &PAGE[at..(at + 40).min(PAGE.len())]) {
            assert!(address.starts_with("http://www.w3.org/2000/svg"), "{address}");
        }
    }
}
