//! The command line.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A software-defined network in one binary: build it from one file, program it, prove that it works.
#[derive(Debug, Parser)]
#[command(name = "weft", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The lab; default: the only one that is running
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) lab: Option<String>,
    /// A controller elsewhere, as http://HOST:PORT
    #[arg(long, global = true, value_name = "URL", env = "WEFT_API")]
    pub(crate) api: Option<String>,
    /// The token for --api
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "WEFT_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// How results are printed
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// Say more on standard error; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build a lab from real packets; ready when it returns or says so
    Up(Up),
    /// Take a lab down; also cleans up after a crash
    Down(Down),
    /// List the labs that are running
    Labs,
    /// Show nodes, links and health of a lab
    Status,
    /// Run a program inside a host's network namespace
    Exec(Exec),
    /// Build a lab, run the file's tests, take it down
    Test(Test),
    /// Declare what a file says beside its topology, and take back what it does not say any more
    Apply(Apply),
    /// Show any REST collection, or one object of it
    Get(Get),
    /// List, declare and delete flows of switches
    #[command(subcommand)]
    Flow(Flow),
    /// Show, declare and clear pipelines of switches
    #[command(subcommand)]
    Pipeline(Pipeline),
    /// Find paths between two nodes
    Path(Path),
    /// Say what becomes of a packet: hop by hop, table, entry, rewrite, and why it is dropped
    Trace(Trace),
    /// Take links down and up
    #[command(subcommand)]
    Link(Link),
    /// Write what passes an interface of a host or a port of a switch, as pcapng
    Capture(Capture),
    /// Send a request to the API
    Api(Api),
    /// Try what labs need of this machine, and say what helps where it does not work
    Doctor(Doctor),
    /// Print the JSON Schema of the topology file, for editors
    Schema,
    /// Print what makes a shell complete this command
    Completions(Completions),
    /// Run a controller with its API
    Controller(Controller),
    /// Run a lab's data plane; `weft up` does
    #[command(hide = true)]
    Dataplane,
    /// Run a program so that nothing of it is left; `weft test` does
    #[command(hide = true)]
    Contained(Contained),
}

#[derive(Debug, Args)]
pub(crate) struct Contained {
    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Return when the lab is ready, and let it run
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// The lab's name; default: the file's
    #[arg(long, value_name = "LAB")]
    pub(crate) name: Option<String>,
    /// Segment super-packets and complete checksums before a host's kernel sees them, so that it checks them
    #[arg(long)]
    pub(crate) no_offloads: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// The lab; default: the only one that is running
    #[arg(value_name = "LAB", conflicts_with = "all")]
    pub(crate) name: Option<String>,
    /// All labs
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The host
    pub(crate) node: String,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Only tests whose names match this glob
    #[arg(long, value_name = "GLOB")]
    pub(crate) only: Option<String>,
    /// Write a JUnit report
    #[arg(long, value_name = "PATH")]
    pub(crate) junit: Option<PathBuf>,
    /// Leave the lab running
    #[arg(long)]
    pub(crate) keep: bool,
    /// The lab's name; default: the file's, with the process's number
    #[arg(long, value_name = "LAB")]
    pub(crate) name: Option<String>,
    /// Segment super-packets and complete checksums before a host's kernel sees them, so that it checks them
    #[arg(long)]
    pub(crate) no_offloads: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The topology file
    pub(crate) file: PathBuf,
    /// Say what would change; nothing is stored
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave what the file does not say any more
    #[arg(long)]
    pub(crate) no_prune: bool,
    /// Take over what other owners made
    #[arg(long)]
    pub(crate) force: bool,
    /// Wait so many seconds until the switches have it; 0: do not wait
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub(crate) wait: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The collection, for example `links` or `switches/s1/flows`
    pub(crate) collection: String,
    /// One object of it
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Flow {
    /// List flows
    List {
        /// Only those of this switch
        switch: Option<String>,
    },
    /// Show one flow with its counters
    Get {
        /// The switch
        switch: String,
        /// The flow
        name: String,
    },
    /// Declare a flow
    Put(FlowPut),
    /// Delete a flow
    Delete(FlowDelete),
}

#[derive(Debug, Args)]
pub(crate) struct FlowPut {
    /// The switch
    pub(crate) switch: String,
    /// The flow's name
    pub(crate) name: String,
    /// The flow as JSON, or @FILE, or @- for standard input
    pub(crate) flow: String,
    #[command(flatten)]
    pub(crate) write: FlowWrite,
    /// Validate and compile only; nothing is stored
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FlowDelete {
    /// The switch
    pub(crate) switch: String,
    /// The flow's name
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) write: FlowWrite,
}

#[derive(Debug, Args)]
pub(crate) struct FlowWrite {
    /// Wait so many seconds until the switch has it; 0: do not wait
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub(crate) wait: u32,
    /// Take over what another owner made
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pipeline {
    /// Show a switch's pipeline: tables, fields, actions
    Show {
        /// The switch
        switch: String,
    },
    /// Declare a switch's pipeline; the switch leaves the fabric
    Set {
        /// The switch
        switch: String,
        /// The program as JSON; - for standard input
        file: String,
        #[command(flatten)]
        write: FlowWrite,
        /// Validate only; nothing is stored
        #[arg(long)]
        dry_run: bool,
    },
    /// Go back to the built-in pipeline
    Clear {
        /// The switch
        switch: String,
        #[command(flatten)]
        write: FlowWrite,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Path {
    /// Where paths begin
    pub(crate) from: String,
    /// Where they end
    pub(crate) to: String,
    /// The N best paths
    #[arg(long, value_name = "N", conflicts_with_all = ["disjoint", "ecmp"])]
    pub(crate) k: Option<u32>,
    /// All paths of least cost
    #[arg(long, conflicts_with = "disjoint")]
    pub(crate) ecmp: bool,
    /// Two paths that share nothing
    #[arg(long)]
    pub(crate) disjoint: bool,
    /// What disjoint paths do not share: link, node or srlg
    #[arg(long, requires = "disjoint", value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// The largest latency, for example 10ms
    #[arg(long, value_name = "D")]
    pub(crate) max_latency: Option<String>,
    /// The smallest bandwidth, for example 200mbit
    #[arg(long, value_name = "R")]
    pub(crate) min_bandwidth: Option<String>,
    /// A node or link that is not used; may be repeated
    #[arg(long, value_name = "X")]
    pub(crate) avoid: Vec<String>,
    /// A node that is crossed; may be repeated, in order
    #[arg(long, value_name = "X")]
    pub(crate) via: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Link {
    /// Change a link while the lab runs; returns when the network has followed
    Set(LinkSet),
}

#[derive(Debug, Args)]
pub(crate) struct LinkSet {
    /// The link, by its name or by one of its ends, NODE:INTERFACE
    pub(crate) link: String,
    /// Whether it carries packets
    #[arg(value_enum, required_unless_present_any = ["delay", "jitter", "loss", "rate", "clear", "metric", "capacity"])]
    pub(crate) state: Option<LinkState>,
    /// How long packets travel, for example 10ms
    #[arg(long, value_name = "D")]
    pub(crate) delay: Option<String>,
    /// How much the delay varies, for example 1ms
    #[arg(long, value_name = "D")]
    pub(crate) jitter: Option<String>,
    /// The share of packets that is lost, for example 0.1%
    #[arg(long, value_name = "P")]
    pub(crate) loss: Option<String>,
    /// The bandwidth, for example 100mbit
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<String>,
    /// Take all impairments away
    #[arg(long, conflicts_with_all = ["delay", "jitter", "loss", "rate"])]
    pub(crate) clear: bool,
    /// The cost of crossing it, 1 and up
    #[arg(long, value_name = "N")]
    pub(crate) metric: Option<u32>,
    /// What fits, for path computation, for example 1gbit
    #[arg(long, value_name = "R")]
    pub(crate) capacity: Option<String>,
    /// Wait so many seconds until the network has followed; 0: do not wait
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub(crate) wait: u32,
}

/// Whether a link carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinkState {
    /// It does not.
    Down,
    /// It does.
    Up,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    /// Where: NODE:INTERFACE, of a host or a switch
    #[arg(value_name = "NODE:INTERFACE")]
    pub(crate) place: String,
    /// Write to a file; default: standard output, for a pipe into `tshark -r -`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Only packets from or to this address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<IpAddr>,
    /// Only TCP and UDP packets from or to this port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Only this protocol: arp, ip, ip6, icmp, icmp6, tcp, udp, or an IP protocol's number
    #[arg(long, value_name = "PROTO")]
    pub(crate) proto: Option<Proto>,
    /// End after so many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// A protocol that captures are filtered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proto {
    /// What is in the Ethernet frame.
    EtherType(u16),
    /// What is in the IP packet.
    Ip(u8),
}

impl Proto {
    /// Ethernet type and IP protocol.
    pub(crate) fn numbers(self) -> (Option<u16>, Option<u8>) {
        match self {
            Self::EtherType(number) => (Some(number), None),
            Self::Ip(number) => (None, Some(number)),
        }
    }
}

impl FromStr for Proto {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "arp" => Self::EtherType(0x0806),
            "ip" | "ip4" | "ipv4" => Self::EtherType(0x0800),
            "ip6" | "ipv6" => Self::EtherType(0x86dd),
            "icmp" => Self::Ip(1),
            "tcp" => Self::Ip(6),
            "udp" => Self::Ip(17),
            "icmp6" | "icmpv6" => Self::Ip(58),
            number => match number.parse() {
                Ok(number) if number > 0 => Self::Ip(number),
                _ => {
                    return Err(
                        "one of arp, ip, ip6, icmp, icmp6, tcp, udp, or a number from 1 to 255"
                            .to_owned(),
                    );
                }
            },
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// The host that sends the packet
    pub(crate) from: String,
    /// The host or address that it is for
    pub(crate) to: String,
    /// tcp, udp, icmp or a number; default: what the ports say, else an echo request
    #[arg(long, value_name = "PROTO")]
    pub(crate) proto: Option<String>,
    /// The source port
    #[arg(long, value_name = "PORT")]
    pub(crate) sport: Option<u16>,
    /// The destination port
    #[arg(long, value_name = "PORT")]
    pub(crate) dport: Option<u16>,
    /// The TTL or hop limit
    #[arg(long, value_name = "N")]
    pub(crate) ttl: Option<u8>,
    /// The DSCP
    #[arg(long, value_name = "N")]
    pub(crate) dscp: Option<u8>,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES")]
    pub(crate) length: Option<u16>,
    /// Another destination MAC address than the next hop's
    #[arg(long, value_name = "MAC")]
    pub(crate) eth_dst: Option<String>,
    /// Follow the next real packet instead; what is not said of it may be anything
    #[arg(long, conflicts_with_all = ["ttl", "dscp", "length", "eth_dst"])]
    pub(crate) live: bool,
    /// How long to wait for it; default: 5s
    #[arg(long, value_name = "DURATION", requires = "live")]
    pub(crate) within: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Api {
    /// The method; default: GET, or POST with a body
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The path, for example /v1/hosts
    pub(crate) path: String,
    /// The body as text, or @FILE, or @- for standard input
    #[arg(short, long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Another header, `Name: value`; may be repeated
    #[arg(short = 'H', long, value_name = "HEADER")]
    pub(crate) header: Vec<String>,
    /// Print status and headers too
    #[arg(short, long)]
    pub(crate) include: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Try one need in this process; `weft doctor` starts these
    #[arg(long, hide = true, value_name = "NEED")]
    pub(crate) probe: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// Where the API listens; a lab's controller keeps its address
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where declared state is kept, for example sqlite:weft.sqlite
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<String>,
    /// A data plane outside a lab: ADDR:PORT or unix:PATH
    #[arg(long, value_name = "TARGET")]
    pub(crate) dataplane: Option<String>,
    /// The topology file of a data plane outside a lab
    #[arg(long, value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
    /// Report to the lab's data plane
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}
