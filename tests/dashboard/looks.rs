use serde_json::json;

use crate::browser::Browser;

#[test]
#[ignore = "interim"]
fn shots() {
    let mut browser = Browser::start();
    for (name, width, height, mobile) in [("desktop", 1200, 1100, false), ("phone", 360, 2400, true)] {
        for scheme in ["light", "dark"] {
            browser.viewport(width, height, mobile);
            browser.color_scheme(scheme);
            browser.open("http://127.0.0.1:8099/");
            browser.wait_for("rows", "document.querySelectorAll('.row').length > 4");
            println!("{name} {:?}", browser.eval("[document.documentElement.scrollWidth, innerWidth].join()"));
            let shot = browser.screenshot();
            use base64::Engine;
            std::fs::write(
                format!("/tmp/shot-{name}-{scheme}.png"),
                base64::engine::general_purpose::STANDARD.decode(shot).unwrap(),
            )
            .unwrap();
        }
    }
    println!("{:?}", browser.complaints());
    let _ = json!(1);
}
