//! The result: a row for each figure, a column for each target, ratios to the first.

use std::fmt;

/// Figures by row and target.
pub struct Table {
    targets: Vec<&'static str>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    /// An empty table; the first target is what the others are held against.
    pub fn new(targets: impl Iterator<Item = &'static str>) -> Self {
        Self { targets: targets.collect(), rows: Vec::new() }
    }

    /// Adds a row with one figure for each target.
    pub fn row(&mut self, name: impl Into<String>, figures: Vec<f64>) {
        assert_eq!(figures.len(), self.targets.len(), "one figure for each target");
        self.rows.push((name.into(), figures));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | {} |", self.targets.join(" | "))?;
        writeln!(f, "| --- |{}", " ---: |".repeat(self.targets.len()))?;
        for (name, figures) in &self.rows {
            let cells: Vec<_> = figures.iter().map(|figure| cell(*figure, figures[0])).collect();
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// A figure with its ratio; a dash where a target was not measured.
fn cell(figure: f64, base: f64) -> String {
    if figure.is_nan() {
        return "–".to_owned();
    }
    if base.is_nan() {
        return three_digits(figure);
    }
    format!("{} ({:.2})", three_digits(figure), figure / base)
}

/// Three significant digits, as far as they are worth quoting.
fn three_digits(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

/// The value below which a part of all values lies; `NaN` of none.
pub fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len().saturating_sub(1) as f64 * part).round();
    sorted.get(place as usize).copied().unwrap_or(f64::NAN)
}

/// The middle value; `NaN` of none.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_figures_and_ratios_to_the_first() {
        let mut table = Table::new(["openssh", "adit"].into_iter());
        table.row("one key, p50, ms", vec![0.2, 0.25]);
        assert!(
            table.to_string().ends_with("| one key, p50, ms | 0.200 (1.00) | 0.250 (1.25) |\n")
        );
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let mut table = Table::new(["openssh", "adit"].into_iter());
        table.row("many", vec![f64::NAN, 0.25]);
        assert!(table.to_string().ends_with("| many | – | 0.250 |\n"));
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.99), 3.0);
        assert!(median(&[]).is_nan());
    }
}
