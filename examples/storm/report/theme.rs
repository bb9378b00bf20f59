//! The colours of the curves, for light and dark mode.
//!
//! Blue and vermilion are from the palette of Okabe and Ito, which colour-blind readers can tell apart. The charts use
//! the light colours, and a style sheet inside them replaces each by its dark counterpart where the reader prefers
//! dark mode.

use plotters::style::RGBColor;

/// A colour for light mode and its counterpart for dark mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tint {
    day: RGBColor,
    night: RGBColor,
}

pub(super) const PAPER: Tint = tint((255, 255, 255), (13, 17, 23));
pub(super) const INK: Tint = tint((36, 41, 47), (214, 220, 228));
pub(super) const GRID: Tint = tint((225, 228, 232), (42, 48, 56));
pub(super) const OUTAGE: Tint = tint((250, 236, 210), (58, 46, 24));
pub(super) const BARE: Tint = tint((213, 94, 0), (240, 138, 62));
pub(super) const SEAWALL: Tint = tint((0, 114, 178), (86, 180, 233));

/// For a third curve.
pub(super) const THIRD: Tint = tint((0, 158, 115), (62, 201, 160));

const ALL: [Tint; 7] = [PAPER, INK, GRID, OUTAGE, BARE, SEAWALL, THIRD];

const fn tint(day: (u8, u8, u8), night: (u8, u8, u8)) -> Tint {
    Tint { day: RGBColor(day.0, day.1, day.2), night: RGBColor(night.0, night.1, night.2) }
}

impl Tint {
    pub(super) fn day(self) -> RGBColor {
        self.day
    }

    /// As CSS writes it.
    fn hex(RGBColor(red, green, blue): RGBColor) -> String {
        format!("#{red:02X}{green:02X}{blue:02X}")
    }

    pub(super) fn day_hex(self) -> String {
        Self::hex(self.day)
    }

    pub(super) fn night_hex(self) -> String {
        Self::hex(self.night)
    }
}

/// The style sheet that turns the charts dark. The selectors match colours as plotters writes them.
pub(super) fn style_sheet() -> String {
    let rules: String = ALL
        .iter()
        .map(|tint| {
            let (day, night) = (tint.day_hex(), tint.night_hex());
            format!("[fill=\"{day}\"]{{fill:{night}}}[stroke=\"{day}\"]{{stroke:{night}}}")
        })
        .collect();
    format!("<style>@media (prefers-color-scheme:dark){{{rules}}}</style>")
}
