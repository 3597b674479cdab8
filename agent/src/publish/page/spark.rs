//! A line of the last rounds, small enough to stand in a table: round trips as a line, loss as bars behind it.
//!
//! The line begins at zero, so that a small change looks small. Where nothing was answered there is a gap, and a bar of
//! full height. What it shows is said in words too, for those who hear the page.

use super::trail::{Point, ROUNDS};

/// Height in units of the drawing; a round is two units wide.
const HEIGHT: u32 = 20;

/// A drawing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spark {
    /// What it says.
    pub(crate) words: String,
    /// Pieces of the line, as `points` of a polyline.
    pub(crate) lines: Vec<String>,
    /// Bars: where they begin, from the left and from the top, and how high they are.
    pub(crate) bars: Vec<(u32, u32, u32)>,
}

impl Spark {
    /// Draws the last results, the latest at the right; `None` where there are too few for a line.
    pub(crate) fn draw(points: &[Point]) -> Option<Self> {
        if points.len() < 2 {
            return None;
        }
        let most = points.iter().filter_map(|point| point.round_trip).fold(0.0, f32::max);
        let first = ROUNDS.saturating_sub(points.len());
        let across = |nth: usize| u32::try_from((first + nth) * 2).unwrap_or(u32::MAX);
        let mut spark = Self { words: words(points, most), ..Self::default() };
        let mut open = String::new();
        for (nth, point) in points.iter().enumerate() {
            let loss = if point.round_trip.is_none() { 100 } else { u32::from(point.loss.min(100)) };
            if loss > 0 {
                // What is lost at all is seen.
                let high = (loss * HEIGHT).div_ceil(100).max(2);
                spark.bars.push((across(nth), HEIGHT - high, high));
            }
            match point.round_trip {
                Some(trip) => open.push_str(&format!("{},{} ", across(nth) + 1, down(trip, most))),
                None => spark.lines.extend(finish(&mut open)),
            }
        }
        spark.lines.extend(finish(&mut open));
        Some(spark)
    }
}

fn finish(open: &mut String) -> Option<String> {
    let line = std::mem::take(open);
    let line = line.trim_end();
    // A line to where it begins is drawn as a dot; one to nowhere is not drawn.
    (!line.is_empty()).then(|| if line.contains(' ') { line.to_owned() } else { format!("{line} {line}") })
}

/// How far from the top; the highest point keeps clear of the edge.
fn down(trip: f32, most: f32) -> u32 {
    let share = if most > 0.0 { trip / most } else { 0.0 };
    HEIGHT - 1 - (share * (HEIGHT - 3) as f32).round() as u32
}

fn words(points: &[Point], most: f32) -> String {
    let least = points.iter().filter_map(|point| point.round_trip).fold(f32::INFINITY, f32::min);
    let silent = points.iter().filter(|point| point.round_trip.is_none()).count();
    let lossy = points.iter().filter(|point| point.round_trip.is_some() && point.loss > 0).count();
    let mut words = format!("{} results", points.len());
    if least.is_finite() {
        words.push_str(&format!(": round trip {:.2} to {:.2} ms", least * 1e3, most * 1e3));
    }
    for (count, what) in [(lossy, "with loss"), (silent, "without answer")] {
        if count > 0 {
            words.push_str(&format!(", {count} {what}"));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(round_trip: Option<f32>, loss: u8) -> Point {
        Point { round_trip, loss }
    }

    #[test]
    fn the_latest_is_at_the_right_and_the_slowest_at_the_top() {
        let spark = Spark::draw(&[point(Some(0.001), 0), point(Some(0.002), 0)]).unwrap();
        assert_eq!((spark.lines, spark.bars), (vec!["117,10 119,2".to_owned()], Vec::new()));
        assert_eq!(spark.words, "2 results: round trip 1.00 to 2.00 ms");
    }

    #[test]
    fn a_round_without_answer_is_a_gap_and_a_bar() {
        let spark = Spark::draw(&[point(Some(0.001), 0), point(None, 0), point(Some(0.001), 1)]).unwrap();
        assert_eq!(spark.lines, ["115,2 115,2", "119,2 119,2"], "single results are dots");
        assert_eq!(spark.bars, [(116, 0, 20), (118, 18, 2)]);
        assert!(spark.words.ends_with(", 1 with loss, 1 without answer"), "{spark:?}");
    }

    #[test]
    fn of_nothing_there_is_no_line() {
        assert_eq!(Spark::draw(&[point(Some(0.001), 0)]), None);
        let silent = Spark::draw(&[point(None, 100); 2]).unwrap();
        assert_eq!((silent.lines.len(), silent.words.as_str()), (0, "2 results, 2 without answer"));
        let none = Spark::draw(&[point(Some(0.0), 0); 3]).unwrap();
        assert_eq!(none.lines, ["115,19 117,19 119,19"], "nothing is divided by zero");
    }
}
