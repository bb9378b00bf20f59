//! How the results are shown.

use comfy_table::{CellAlignment, Table, presets};

use crate::measure::{Cost, Plan, Spread};
use crate::rows::Case;

pub(crate) fn table(costs: &[Cost], plan: &Plan) {
    for case in [Case::Ready, Case::Yield, Case::Contended] {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header([
            case.as_str().to_owned(),
            "ns/call".into(),
            "p10..p90".into(),
            "allocs".into(),
            "x tower".into(),
            "p10..p90".into(),
        ]);
        for cost in costs.iter().filter(|cost| cost.case == case) {
            let tails = |spread: Spread, digits: usize| format!("{:.digits$}..{:.digits$}", spread.p10, spread.p90);
            table.add_row([
                cost.name.to_owned(),
                format!("{:.1}", cost.ns.median),
                tails(cost.ns, 1),
                format!("{:.2}", cost.allocations),
                cost.tower.map_or(String::new(), |(_, ratio)| format!("{:.2}", ratio.median)),
                cost.tower.map_or(String::new(), |(name, ratio)| format!("{} of {name}", tails(ratio, 2))),
            ]);
        }
        for column in [1, 3, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        println!("{table}\n");
    }
    println!(
        "{} rounds of {} ms a row. `bare` is the inner service with the harness around it; it is taken off all others.\n\
         What is contended needs two cores that have nothing else to do.\n",
        plan.rounds,
        plan.slice.as_millis()
    );
}

/// A balancer, and the same protection around each of so many endpoints without a choice among them.
const CHOICES: [(&str, &str); 2] = [("balance_10", "one_endpoint_of_10"), ("balance_1000", "one_endpoint_of_1000")];

pub(crate) fn figures(costs: &[Cost]) {
    for cost in costs {
        let name = format!("figure cost.{}.{}", cost.name, cost.case.as_str());
        println!("{name}.ns {:.1}", cost.ns.median);
        println!("{name}.allocs {:.2}", cost.allocations);
        if let Some((_, ratio)) = cost.tower {
            println!("{name}.ratio_tower {:.2}", ratio.median);
        }
        let without = CHOICES
            .iter()
            .find(|(chosen, _)| *chosen == cost.name)
            .and_then(|(_, without)| costs.iter().find(|other| other.name == *without && other.case == cost.case));
        if let Some(without) = without {
            println!("{name}.choice_ns {:.1}", cost.ns.median - without.ns.median);
        }
    }
}
