//! Weighted sampling in constant time: the alias method.
//!
//! Walker (1977), in the numerically stable form of Vose, "A Linear Algorithm for Generating Random Numbers with a Given
//! Distribution" (1991). Each endpoint has a column of equal width. A column keeps the part of its own endpoint's probability that
//! fits, and the rest of it belongs to one other endpoint, its alias. A draw picks a column, then one of the two: two reads and one
//! random number, whatever the number of endpoints. Building takes linear time and is done only when the set changes.

/// The weights of a set of endpoints, prepared for draws. See the module.
#[derive(Debug, Default)]
pub(crate) struct AliasTable {
    columns: Box<[Column]>,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// The share of the column that belongs to its own endpoint.
    keep: f64,
    /// The endpoint that has the rest.
    alias: usize,
    /// The endpoint's weight, relative to the mean of the set.
    weight: f64,
}

impl AliasTable {
    /// A weight of zero is never drawn. A weight that is negative or not a number counts as zero. If all are zero, all are equal.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let mut weights: Vec<f64> =
            weights.into_iter().map(|w| if w.is_finite() && w > 0.0 { w } else { 0.0 }).collect();
        // Relative to the largest first, so that the sum stays finite.
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let sum: f64 = weights.iter().map(|w| w / largest).sum();
        let number = weights.len() as f64;
        for weight in &mut weights {
            *weight = if largest > 0.0 { *weight / largest / sum * number } else { 1.0 };
        }

        let mut columns: Box<[Column]> = weights
            .iter()
            .enumerate()
            .map(|(own, &weight)| Column { keep: weight.min(1.0), alias: own, weight })
            .collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            weights.into_iter().enumerate().partition(|(_, weight)| *weight < 1.0);
        while let (Some((poor, has)), Some((rich, spare))) = (small.pop(), large.pop()) {
            if let Some(column) = columns.get_mut(poor) {
                (column.keep, column.alias) = (has, rich);
            }
            let rest = spare - (1.0 - has);
            if rest < 1.0 { &mut small } else { &mut large }.push((rich, rest));
        }
        // What is left is one whole column each, up to rounding.
        for (own, _) in small.into_iter().chain(large) {
            if let Some(column) = columns.get_mut(own).filter(|column| column.weight > 0.0) {
                (column.keep, column.alias) = (1.0, own);
            }
        }
        Self { columns }
    }

    /// The number of endpoints.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The weight of an endpoint relative to the mean of the set, which is 1; zero for an endpoint that is not in the set.
    #[inline]
    pub(crate) fn weight(&self, endpoint: usize) -> f64 {
        self.columns.get(endpoint).map_or(0.0, |column| column.weight)
    }

    /// An endpoint with the probability of its weight; `chance` is in `0.0..1.0`. `None` if the set is empty.
    #[inline]
    pub(crate) fn draw(&self, chance: f64) -> Option<usize> {
        let at = chance * self.columns.len() as f64;
        let own = self.uniform(chance)?;
        let column = self.columns.get(own)?;
        Some(if at - (own as f64) < column.keep { own } else { column.alias })
    }

    /// An endpoint, each with the same probability.
    #[inline]
    pub(crate) fn uniform(&self, chance: f64) -> Option<usize> {
        let last = self.columns.len().checked_sub(1)?;
        Some(((chance * self.columns.len() as f64) as usize).min(last))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The exact probability of each endpoint, from the columns.
    fn probabilities(table: &AliasTable) -> Vec<f64> {
        let mut mass = vec![0.0; table.len()];
        for (own, column) in table.columns.iter().enumerate() {
            mass[own] += column.keep / table.len() as f64;
            mass[column.alias] += (1.0 - column.keep) / table.len() as f64;
        }
        mass
    }

    #[test]
    fn empty_set_has_no_draw() {
        let table = AliasTable::new([]);
        assert_eq!((table.len(), table.draw(0.5), table.uniform(0.5), table.weight(0)), (0, None, None, 0.0));
    }

    #[test]
    fn unusable_weights_count_as_zero() {
        let table = AliasTable::new([1.0, 0.0, -3.0, f64::NAN, f64::INFINITY, 3.0]);
        assert!((0..1000).all(|i| matches!(table.draw(f64::from(i) / 1000.0), Some(0 | 5))));
        assert_eq!([0, 1, 5].map(|i| table.weight(i)), [1.5, 0.0, 4.5]);
        let equal = probabilities(&AliasTable::new([0.0; 4]));
        assert!(equal.iter().all(|p| (p - 0.25).abs() < 1e-12), "{equal:?}");
    }

    #[test]
    fn extreme_weights_and_samples_do_not_panic() {
        let table = AliasTable::new([f64::MAX, f64::MAX, f64::MIN_POSITIVE]);
        assert!([0.0, 0.999_999_999_999_999_9, 1.0, f64::NAN, -1.0].iter().all(|chance| table.draw(*chance) < Some(3)));
    }

    proptest! {
        /// The naive model: a share of the sum.
        #[test]
        fn probability_is_the_share_of_the_weight(weights in prop::collection::vec(prop_oneof![Just(0.0), 0.01..1000.0f64], 1..60)) {
            let sum: f64 = weights.iter().sum();
            prop_assume!(sum > 0.0);
            for (weight, probability) in weights.iter().zip(probabilities(&AliasTable::new(weights.clone()))) {
                prop_assert!((weight / sum - probability).abs() < 1e-9, "{weight} of {sum}: {probability}");
            }
        }
    }
}
