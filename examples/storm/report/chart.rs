//! Draws panels of lines over time with plotters: axes, grid, the outage as a band, a legend.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::theme::{self, Tint};
use crate::Error;

/// One chart: lines over the seconds of a run.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) unit: &'static str,
    pub(super) seconds: f64,
    /// The outage, in seconds.
    pub(super) outage: Range<f64>,
    pub(super) outage_label: String,
    /// The top of the vertical axis; it begins at zero.
    pub(super) top: f64,
    pub(super) lines: Vec<Line>,
}

/// One line of a chart. Where it has no value, it is interrupted.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) tint: Tint,
    /// In pixels.
    pub(super) width: u32,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

const FONT: &str = "sans-serif";
/// As plotters counts; SVG's pixels are a fifth less.
const TEXT: u32 = 20;
const HEADER: u32 = 40;

/// The panels below each other in one self-contained SVG.
pub(super) fn svg(panels: &[Panel], width: u32, height_of_each: u32) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height_of_each * panels.len() as u32)).into_drawing_area();
        area.fill(&theme::PAPER.day())?;
        for (area, panel) in area.split_evenly((panels.len(), 1)).iter().zip(panels) {
            let (header, body) = area.split_vertically(HEADER);
            draw_header(&header, panel)?;
            draw_body(&body, panel)?;
        }
        area.present()?;
    }
    // The style sheet goes right behind the opening tag.
    Ok(svg.replacen("\">\n", &format!("\">\n{}\n", theme::style_sheet()), 1))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The title on the left, the legend on the right.
fn draw_header(area: &Area<'_>, panel: &Panel) -> Result<(), Error> {
    const TEXT_TOP: i32 = 14;
    const STROKE: i32 = 28;
    let style = text();
    area.draw(&Text::new(panel.title, (16, TEXT_TOP), style.clone()))?;
    let mut right = area.dim_in_pixel().0 as i32 - 24;
    let middle = TEXT_TOP + TEXT as i32 / 2;
    for line in panel.lines.iter().rev() {
        // Without the font at hand, its width can only be guessed.
        right -= line.label.chars().count() as i32 * TEXT as i32 * 11 / 20;
        area.draw(&Text::new(line.label.as_str(), (right, TEXT_TOP), style.clone()))?;
        right -= STROKE + 8;
        area.draw(&PathElement::new([(right, middle), (right + STROKE, middle)], stroke(line)))?;
        right -= 22;
    }
    Ok(())
}

fn draw_body(area: &Area<'_>, panel: &Panel) -> Result<(), Error> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(24)
        .x_label_area_size(48)
        .y_label_area_size(68)
        .build_cartesian_2d(0.0..panel.seconds, 0.0..panel.top)?;
    let band = [(panel.outage.start, 0.0), (panel.outage.end, panel.top)];
    chart.draw_series([Rectangle::new(band, theme::OUTAGE.day().filled())])?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(theme::GRID.day())
        .light_line_style(TRANSPARENT)
        .axis_style(theme::INK.day())
        .label_style(text())
        .x_desc("seconds")
        .y_desc(panel.unit)
        .x_label_formatter(&|seconds| format!("{seconds:.0}"))
        .y_labels(6)
        .y_label_formatter(&|value| if panel.top < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        .draw()?;
    let middle = ((panel.outage.start + panel.outage.end) / 2.0, panel.top * 0.98);
    let label = text().pos(Pos::new(HPos::Center, VPos::Top));
    chart.draw_series([Text::new(panel.outage_label.clone(), middle, label)])?;
    for line in &panel.lines {
        for piece in line.points.split(|(_, value)| value.is_none()) {
            let points: Vec<_> = piece.iter().filter_map(|(x, y)| y.map(|y| (*x, y))).collect();
            chart.draw_series([PathElement::new(points, stroke(line))])?;
        }
    }
    Ok(())
}

fn stroke(line: &Line) -> ShapeStyle {
    line.tint.day().stroke_width(line.width)
}

fn text() -> TextStyle<'static> {
    (FONT, TEXT).into_font().color(&theme::INK.day())
}
