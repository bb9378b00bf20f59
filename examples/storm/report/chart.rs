//! Draws panels of lines with plotters: axes, grid, a band for an event, a legend.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::theme::{self, Tint};
use crate::Error;

/// One chart.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) across: Axis,
    pub(super) up: Axis,
    pub(super) band: Option<Band>,
    pub(super) lines: Vec<Line>,
}

/// An axis, which begins at zero.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) end: f64,
}

/// A range of the horizontal axis in which something is different.
#[derive(Debug)]
pub(super) struct Band {
    pub(super) span: Range<f64>,
    pub(super) label: String,
}

/// One line of a chart. It is interrupted where it has no value.
#[derive(Debug)]
pub(super) struct Line {
    /// The label in the legend; a line without one has no entry.
    pub(super) label: String,
    pub(super) tint: Tint,
    /// In pixels.
    pub(super) width: u32,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

const FONT: &str = "sans-serif";
/// In plotters' unit; an SVG pixel is a fifth less.
const TEXT: u32 = 20;
const HEADER: u32 = 40;

/// Rows of panels below each other in one self-contained SVG. The panels of a row share its width.
pub(super) fn svg(rows: &[Vec<Panel>], width: u32, height_of_each: u32) -> Result<String, Error> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height_of_each * rows.len() as u32)).into_drawing_area();
        area.fill(&theme::PAPER.day())?;
        for (area, row) in area.split_evenly((rows.len(), 1)).iter().zip(rows) {
            for (area, panel) in area.split_evenly((1, row.len())).iter().zip(row) {
                let (header, body) = area.split_vertically(HEADER);
                draw_header(&header, panel)?;
                draw_body(&body, panel)?;
            }
        }
        area.present()?;
    }
    // The style sheet follows the opening tag directly.
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
    for line in panel.lines.iter().rev().filter(|line| !line.label.is_empty()) {
        // Without the font its width can only be estimated.
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
        .build_cartesian_2d(0.0..panel.across.end, 0.0..panel.up.end)?;
    if let Some(Band { span, .. }) = &panel.band {
        chart.draw_series([Rectangle::new(
            [(span.start, 0.0), (span.end, panel.up.end)],
            theme::OUTAGE.day().filled(),
        )])?;
    }
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(theme::GRID.day())
        .light_line_style(TRANSPARENT)
        .axis_style(theme::INK.day())
        .label_style(text())
        .x_desc(panel.across.name)
        .y_desc(panel.up.name)
        .x_labels(8)
        .x_label_formatter(&|value| format!("{}", (value * 10.0).round() / 10.0))
        .y_labels(6)
        .y_label_formatter(&|value| if panel.up.end < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") })
        .draw()?;
    if let Some(Band { span, label }) = &panel.band {
        let middle = ((span.start + span.end) / 2.0, panel.up.end * 0.98);
        let style = text().pos(Pos::new(HPos::Center, VPos::Top));
        chart.draw_series([Text::new(label.clone(), middle, style)])?;
    }
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
