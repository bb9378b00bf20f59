//! The page: one file, assembled at compile time.
//!
//! Its parts are in `page/`. The content security policy allows only the style and the script, by their hashes. A test compares
//! the hashes.

macro_rules! style {
    () => {
        include_str!("page/page.css")
    };
}

/// Each part uses the parts before it.
macro_rules! script {
    () => {
        concat!(
            include_str!("page/words.js"),
            include_str!("page/charts.js"),
            include_str!("page/rows.js"),
            include_str!("page/controls.js"),
            include_str!("page/live.js"),
        )
    };
}

macro_rules! policy {
    ($style:literal, $script:literal) => {
        concat!(
            "default-src 'none'; connect-src 'self'; style-src 'sha256-",
            $style,
            "'; script-src 'sha256-",
            $script,
            "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; ",
            "require-trusted-types-for 'script'; trusted-types 'none'",
        )
    };
}

pub(super) const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n",
    include_str!("page/head.html"),
    "<style>",
    style!(),
    "</style>\n</head>\n<body>\n",
    include_str!("page/body.html"),
    "<script>",
    script!(),
    "</script>\n</body>\n</html>\n",
);

pub(super) const POLICY: &str =
    policy!("lxKWhViFnlTLVFnDpDYURmmF5Z7Tw3Q+FqrxQDoT/h8=", "0P/+a2xh5xVxsXH3+Q5V924YDr0qCsPHaWwZ9WIQqno=");

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn policy_has_the_hashes_of_style_and_script() {
        let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        let (style, script) = (hash(style!()), hash(script!()));
        assert!(POLICY.contains(&style), "the style has changed: its hash is now {style}");
        assert!(POLICY.contains(&script), "the script has changed: its hash is now {script}");
    }

    #[test]
    fn page_is_complete_and_loads_nothing_external() {
        for part in [style!(), script!()] {
            assert!(!part.contains("</"), "a part would end early");
            assert!(!part.contains('\r'), "a browser reads line ends as \\n, and the hash would be another one");
        }
        for opening in ["<style>", "<script>", "<body>", "<title>"] {
            assert_eq!(PAGE.matches(opening).count(), 1, "{opening}");
        }
        for word in ["src=", "href=", "@import", "url(", " style=", " onclick=", "innerHTML", "outerHTML", "eval("] {
            assert!(!PAGE.contains(word), "{word} has no place in the page");
        }
        assert!(!PAGE.replace("http://www.w3.org/2000/svg", "").contains("http"), "an address of elsewhere");
    }
}
