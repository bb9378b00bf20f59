//! A router and its predictors as processes.

use std::net::SocketAddr;

use rustix::process::Signal;

use crate::Error;
use crate::process::Process;
use crate::topology::{Pace, Topology, node_name};

/// A running topology. All its processes end when it is dropped.
#[derive(Debug)]
pub(crate) struct Deployment {
    router: Process,
    nodes: Vec<Process>,
    pace: Pace,
}

impl Deployment {
    pub(crate) async fn start(topology: Topology, pace: Pace, defaults: bool) -> Result<Self, Error> {
        let service_ms = pace.service.as_millis().to_string();
        let mut nodes = Vec::new();
        let mut arguments: Vec<String> = ["router", "--service-ms", &service_ms].map(Into::into).into();
        if defaults {
            arguments.push("--defaults".into());
        }
        for (node, tier) in topology.tiers().iter().enumerate() {
            let process = predictor(node, 0, pace).await?;
            arguments.extend(["--node".into(), format!("{tier}@{}", process.address)]);
            nodes.push(process);
        }
        Ok(Self { router: Process::start(&arguments).await?, nodes, pace })
    }

    pub(crate) fn router(&self) -> SocketAddr {
        self.router.address
    }

    /// The address of a predictor, for users that call it without the router.
    pub(crate) fn predictor(&self, node: usize) -> Option<SocketAddr> {
        self.nodes.get(node).map(|process| process.address)
    }

    /// The requests in progress at a predictor that must not be sent twice.
    pub(crate) async fn posts(&mut self, node: usize) -> Result<usize, Error> {
        Ok(self.node(node)?.ask("posts").await?.parse()?)
    }

    fn node(&mut self, node: usize) -> Result<&mut Process, Error> {
        self.nodes.get_mut(node).ok_or_else(|| format!("there is no predictor {}", node_name(node)).into())
    }

    pub(crate) fn kill(&mut self, node: usize) -> Result<(), Error> {
        self.node(node)?.kill()
    }

    /// Starts a predictor again that has ended, at its former address.
    pub(crate) async fn restart(&mut self, node: usize) -> Result<(), Error> {
        let pace = self.pace;
        let place = self.node(node)?;
        *place = predictor(node, place.address.port(), pace).await?;
        Ok(())
    }

    pub(crate) fn signal(&mut self, node: usize, signal: Signal) -> Result<(), Error> {
        self.node(node)?.signal(signal)
    }

    /// `slow`, `fail` or `heal`.
    pub(crate) async fn command(&mut self, node: usize, command: &str) -> Result<(), Error> {
        self.node(node)?.command(command).await
    }

    /// Takes a predictor out of the router's choice, lets it finish its calls, and waits until it has ended.
    pub(crate) async fn drain(&mut self, node: usize) -> Result<(), Error> {
        self.router.command(&format!("drain {}", node_name(node))).await?;
        self.node(node)?.finish().await
    }

    /// Gives a drained predictor calls again.
    pub(crate) async fn serve(&mut self, node: usize) -> Result<(), Error> {
        self.router.command(&format!("serve {}", node_name(node))).await
    }
}

async fn predictor(node: usize, port: u16, pace: Pace) -> Result<Process, Error> {
    let arguments = [
        "predictor".to_owned(),
        format!("--name={}", node_name(node)),
        format!("--port={port}"),
        format!("--service-ms={}", pace.service.as_millis()),
    ];
    Process::start(&arguments).await
}
