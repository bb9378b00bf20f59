//! Clients over several endpoints, and what an operator does with these.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use seawall::balance::{BalanceHandle, BalanceLayer, Endpoint, EndpointMode};
use seawall::deadline::DeadlineLayer;
use seawall::grpc::propagation::GrpcPropagator;
use seawall::grpc::{ByCall, ByCode};
use seawall::hedge::{HedgeConfig, HedgeLayer};
use seawall::http::propagation::{HttpPropagator, InjectLayer, PropagationConfig};
use seawall::http::{ByMethod, ByStatus, MethodAndPath};
use seawall::quarantine::{QuarantineConfig, QuarantineHandle, QuarantineLayer};
use seawall::registry::Registry;
use seawall::retry::RetryLayer;
use seawall::stack::BalancedClientLayer;

use crate::layers::{self, Layers};

/// A stack over several endpoints.
pub(crate) struct Endpoints<L> {
    stack: L,
    operator: Operator,
}

impl<C, R, P, L> Endpoints<BalancedClientLayer<C, R, P, L>> {
    pub(crate) fn of(stack: BalancedClientLayer<C, R, P, L>) -> Self {
        let operator = Operator::of(stack.balance());
        Self { stack, operator }
    }
}

impl<C: Send + Sync, R: Send + Sync, P: Send + Sync, L: Send + Sync> Layers
    for Endpoints<BalancedClientLayer<C, R, P, L>>
{
    fn reload(&self, round: u64) {
        self.stack.reload(&layers::balanced(round)).unwrap();
        self.operator.operate(round);
    }

    fn held(&self) -> usize {
        self.operator.balance.in_flight() + self.operator.balance.waiting()
    }
}

/// Removes, drains and isolates endpoints.
struct Operator {
    balance: BalanceHandle,
    endpoints: Vec<Endpoint>,
    turn: AtomicUsize,
}

impl Operator {
    fn of(balance: BalanceHandle) -> Self {
        Self { endpoints: balance.endpoints(), balance, turn: AtomicUsize::new(0) }
    }

    fn operate(&self, round: u64) {
        let turn = self.turn.fetch_add(1, Relaxed) % self.endpoints.len();
        let chosen = &self.endpoints[turn];
        self.balance.set_endpoints(self.endpoints.clone()).unwrap();
        self.endpoints.iter().for_each(|endpoint| _ = self.balance.set_mode(endpoint.key(), EndpointMode::Serving));
        match round % 4 {
            0 => {}
            1 => _ = self.balance.set_mode(chosen.key(), EndpointMode::Draining),
            2 => _ = self.balance.set_mode(chosen.key(), EndpointMode::Isolated),
            _ => {
                let others = self.endpoints.iter().filter(|endpoint| endpoint.key() != chosen.key());
                self.balance.set_endpoints(others.cloned()).unwrap();
            }
        }
    }
}

/// A client over several endpoints with quarantine and hedges, put together by hand.
pub(crate) struct Hedged<L: HedgedLayers> {
    pub(crate) layers: L,
    pub(crate) balance: BalanceLayer<L::Classifier>,
    quarantine: QuarantineHandle,
    operator: Operator,
}

pub(crate) trait HedgedLayers: Send + Sync {
    type Classifier: Send + Sync;

    fn reload(&self, hedge: &HedgeConfig);
}

impl<L: HedgedLayers> Layers for Hedged<L> {
    fn reload(&self, round: u64) {
        let config = layers::balanced(round);
        self.balance.reload(&config.balance).unwrap();
        self.layers.reload(&HedgeConfig { enabled: round % 3 != 2, ..HedgeConfig::default() });
        self.operator.operate(round);
    }

    fn held(&self) -> usize {
        self.operator.balance.in_flight() + self.operator.balance.waiting() + self.quarantine.waiting()
    }
}

macro_rules! hedged {
    ($name:ident, $constructor:ident, $classifier:ty, $replay:ty, $propagator:ty, $timing:ty) => {
        #[derive(Clone)]
        pub(crate) struct $name {
            pub(crate) deadline: DeadlineLayer<$classifier, $timing>,
            pub(crate) retry: RetryLayer<$classifier, $replay>,
            pub(crate) quarantine: QuarantineLayer<MethodAndPath, $classifier>,
            pub(crate) hedge: HedgeLayer<$classifier, $replay>,
            pub(crate) inject: InjectLayer<$propagator>,
        }

        impl HedgedLayers for $name {
            type Classifier = $classifier;

            fn reload(&self, hedge: &HedgeConfig) {
                self.hedge.reload(hedge).unwrap();
            }
        }

        impl Hedged<$name> {
            pub(crate) fn $constructor(
                endpoints: impl Iterator<Item = Endpoint>,
                registry: &Registry,
                name: &str,
            ) -> Self {
                let config = layers::balanced(0);
                let retry =
                    RetryLayer::$constructor(config.retry).and_then(|layer| layer.named_in(registry, name)).unwrap();
                let hedge =
                    HedgeLayer::$constructor(HedgeConfig::default()).unwrap().with_budget(retry.budget().clone());
                let quarantine = QuarantineLayer::$constructor(QuarantineConfig::default()).unwrap();
                let balance =
                    BalanceLayer::$constructor(config.balance).and_then(|layer| layer.with_endpoints(endpoints));
                let balance = balance.and_then(|layer| layer.named_in(registry, name)).unwrap();
                Self {
                    operator: Operator::of(balance.handle()),
                    balance,
                    quarantine: quarantine.handle(),
                    layers: $name {
                        deadline: DeadlineLayer::$constructor(config.deadline).unwrap(),
                        hedge: hedge.named_in(registry, name).unwrap(),
                        inject: InjectLayer::$constructor(PropagationConfig::default()).unwrap(),
                        quarantine: quarantine.named_in(registry, name).unwrap(),
                        retry,
                    },
                }
            }
        }
    };
}

hedged!(HttpHedged, http, ByStatus, ByMethod, HttpPropagator, seawall::http::ByExtension);
hedged!(GrpcHedged, grpc, ByCode, ByCall, GrpcPropagator, seawall::grpc::ByTimeout);
