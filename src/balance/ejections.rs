//! How changes of the ejections become visible: to calls, and in the log.

use super::endpoint_set::Member;
use crate::algorithm::balance::{EjectionChange, EjectionRecord, Judged, Outliers};
use crate::ground::time::Instant;
use crate::telemetry::{self, Instruments};

/// Brings endpoints back until no tier has more ejections than it allows. Callers must serialise calls of this, and report the changes
/// without a lock.
pub(super) fn bound(
    outliers: &Outliers,
    records: &mut [EjectionRecord],
    members: &[Member],
    now: Instant,
) -> Vec<EjectionChange> {
    let judged = |(member, record): (&Member, &EjectionRecord)| Judged {
        record: *record,
        tier: member.tier(),
        ..Judged::default()
    };
    let mut judged: Vec<_> = members.iter().zip(records.iter()).map(judged).collect();
    let changes = outliers.bound(&mut judged);
    records.iter_mut().zip(judged).for_each(|(record, judged)| *record = judged.record);
    apply(&changes, members, now);
    changes
}

/// Makes changes of the records visible to calls.
pub(super) fn apply(changes: &[EjectionChange], members: &[Member], now: Instant) {
    for change in changes {
        match change {
            EjectionChange::Ejected(i, _) => {
                members.get(*i).into_iter().for_each(|member| member.state.standing.eject())
            }
            EjectionChange::Restored(i) => members.get(*i).into_iter().for_each(|member| member.state.restore(now)),
        }
    }
}

/// Logs changes of the records. Call it without holding a lock: it runs foreign code.
pub(super) fn report(instruments: &Instruments, changes: &[EjectionChange], members: &[Member]) {
    for change in changes {
        let (EjectionChange::Ejected(i, _) | EjectionChange::Restored(i)) = change;
        let Some(key) = members.get(*i).map(|member| member.endpoint.key()) else { continue };
        match change {
            EjectionChange::Ejected(_, reason) => telemetry::endpoint_ejected(instruments, key, reason.as_str()),
            EjectionChange::Restored(_) => telemetry::endpoint_restored(instruments, key),
        }
    }
}
