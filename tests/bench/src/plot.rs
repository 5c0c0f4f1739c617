//! Curves as pictures, both axes logarithmic: a line of slope one is linear growth.

use crate::numbers::Curve;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use std::path::Path;

const COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
    RGBColor(140, 86, 75),
    RGBColor(127, 127, 127),
];

/// Times the largest value: names stand there.
const ROOM_ABOVE: f64 = 8.0;

/// A picture for each thing that something grows with: `growth-blocks.svg` and so on.
pub fn draw(curves: &[Curve], folder: &Path) -> Result<()> {
    let mut drawn: Vec<&str> = Vec::new();
    for with in curves.iter().map(|curve| curve.with) {
        if drawn.contains(&with) {
            continue;
        }
        drawn.push(with);
        let these: Vec<&Curve> = curves.iter().filter(|curve| curve.with == with && curve.unit == "ms").collect();
        picture(with, &these, &folder.join(format!("growth-{with}.svg"))).map_err(|error| anyhow!("growth-{with}: {error}"))?;
    }
    Ok(())
}

fn picture(with: &str, curves: &[&Curve], file: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let all = || curves.iter().flat_map(|curve| curve.points.iter());
    let least = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
    let (across, up) = ((|point| point.0) as fn(&(f64, f64)) -> f64, (|point| point.1) as fn(&(f64, f64)) -> f64);
    let root = SVGBackend::new(file, (760, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(&root).margin(10).margin_right(30).x_label_area_size(36).y_label_area_size(56).build_cartesian_2d(
            (least(across)..most(across)).log_scale(),
            (least(up) * 0.7..most(up) * ROOM_ABOVE).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(with)
        .y_desc("ms")
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let points = curve.points.iter().copied();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
            .label(&*curve.what)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).draw()?;
    Ok(root.present()?)
}

/// Powers of ten and what lies between, short.
fn label(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{} m", value / 1e6),
        value if value >= 1e3 => format!("{} k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_small_and_has_a_line_for_each_curve() {
        let points = [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0].map(|n| (n, n / 2.0)).to_vec();
        let curves = ["one", "two", "three"].map(|name| Curve::new("blocks", name, "ms", points.clone()));
        let folder = tempfile::tempdir().unwrap();
        draw(&curves, folder.path()).unwrap();
        let svg = std::fs::read_to_string(folder.path().join("growth-blocks.svg")).unwrap();
        assert!(svg.len() < 30_000 && curves.iter().all(|curve| svg.contains(&curve.what)), "{} bytes", svg.len());
    }
}
