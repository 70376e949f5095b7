//! What is told about switches, ports, links and hosts.

use serde_json::{Value, json};

use super::lab::Lab;

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_topology_is_that_of_the_file() {
    let lab = Lab::up().await;
    let topology = lab.get("/v1/topology").await.is(200);
    assert_eq!(topology["name"], "chain");
    assert_eq!(topology["fabric"], "none");
    assert_eq!(
        topology["nodes"][4],
        json!({ "name": "s2", "kind": "switch", "labels": { "tier": "core" } })
    );
    assert_eq!(
        lab.get("/v1/links/last").await.is(200),
        json!({
            "name": "last", "endpoints": ["s2:east", "s3:west"],
            "state": "up", "desiredState": "up", "metric": 1, "srlgs": [], "status": { "conditions": [] },
        })
    );
    let by_end = lab.get("/v1/links/s3:west").await.is(200);
    assert_eq!(by_end["name"], "last");
    let host = lab.get("/v1/hosts/left").await.is(200);
    assert_eq!(host["addresses"], json!(["10.9.0.1/24"]));
    assert_eq!(
        host["attachment"],
        json!({ "switch": "s1", "port": "host" })
    );
    assert_eq!(host["source"], "declared");
    for unknown in [
        "links/x",
        "hosts/x",
        "switches/x",
        "switches/x/ports",
        "switches/s1/ports/x",
        "switches/x/flows",
        "switches/x/pipeline",
    ] {
        lab.get(&format!("/v1/{unknown}")).await.problem(404);
    }
}

#[tokio::test]
async fn switches_tell_what_they_run_and_how_far_they_are() {
    let lab = Lab::up().await;
    let switch = lab.get("/v1/switches/s2").await.is(200);
    assert_eq!(switch["connected"], true);
    assert_eq!(switch["pipeline"], "fabric");
    assert_eq!(switch["p4runtime"]["deviceId"], 2);
    assert!(
        switch["p4runtime"]["address"]
            .as_str()
            .unwrap()
            .starts_with("unix:")
    );
    assert_ne!(switch["bootId"], "");
    assert_eq!(switch["desiredRevision"], switch["observedRevision"]);
    let connected = json!({ "type": "SwitchConnected", "status": true });
    assert!(
        switch["conditions"]
            .as_array()
            .unwrap()
            .contains(&connected),
        "{switch:#}"
    );

    let ports = lab.get("/v1/switches/s2/ports").await.is(200);
    assert_eq!(names(&ports).len(), 3);
    let west = lab.get("/v1/switches/s2/ports/west").await.is(200);
    let by_number = format!("/v1/switches/s2/ports/{}", west["number"]);
    assert_eq!(lab.get(&by_number).await.is(200), west);
    assert_eq!(west["peer"], "s1:east");
    assert_eq!(west["state"], "up");
    assert_eq!(west["kind"], "patch");
    assert_eq!(west["counters"]["rxPackets"], 0);
}

#[tokio::test]
async fn lists_come_in_pages_and_by_label() {
    let lab = Lab::up().await;
    let first = lab.get("/v1/switches?limit=2").await.is(200);
    assert_eq!(names(&first), ["s1", "s2"]);
    let cursor = first["next"].as_str().unwrap();
    let second = lab
        .get(&format!("/v1/switches?limit=2&cursor={cursor}"))
        .await
        .is(200);
    assert_eq!(names(&second), ["s3"]);
    assert_eq!(second["next"], Value::Null);
    assert!(second["revision"].as_str().unwrap().starts_with('r'));
    let core = lab.get("/v1/switches?selector=tier%3Dcore").await.is(200);
    assert_eq!(names(&core), ["s2"]);
    assert_eq!(
        names(&lab.get("/v1/switches?selector=!tier").await.is(200)),
        ["s1", "s3"]
    );
    assert_eq!(
        names(&lab.get("/v1/hosts").await.is(200)),
        ["left", "mid", "right"]
    );
    assert_eq!(names(&lab.get("/v1/links").await.is(200)).len(), 5);
}

#[tokio::test]
async fn the_pipeline_is_described_from_its_p4info() {
    let lab = Lab::without_switches().await;
    let pipeline = lab.get("/v1/switches/s1/pipeline").await.is(200);
    assert_eq!(pipeline["name"], "fabric");
    let tables = pipeline["tables"].as_array().unwrap();
    let flows = tables.iter().find(|table| table["flows"] == true).unwrap();
    let field = flows["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == "tcp_dst");
    assert_eq!(
        field.unwrap(),
        &json!({
            "name": "tcp_dst", "id": field.unwrap()["id"], "bits": 16, "match": "ternary",
            "format": "number", "requires": ["ip_proto=6"],
        })
    );
    let schema = &flows["schema"]["properties"];
    assert_eq!(
        schema["match"]["properties"]["tcp_dst"]["anyOf"][0]["maximum"],
        65535
    );
    assert!(schema["priority"].is_object());
    for table in tables {
        assert_eq!(table["schema"]["type"], "object", "{}", table["name"]);
    }
    let paths = tables.iter().find(|table| table["name"] == "node_paths");
    assert_eq!(paths.unwrap()["actionProfile"], "paths");
    let profiles = pipeline["actionProfiles"].as_array().unwrap();
    let mode = |name: &str| {
        let found = profiles.iter().find(|profile| profile["name"] == name);
        found.map_or(json!(null), |profile| profile["mode"].clone())
    };
    assert_eq!(mode("paths"), "hash");
    assert_eq!(mode("failover_buckets"), "firstLive");
}

#[tokio::test]
async fn metrics_have_a_line_for_each_switch() {
    let lab = Lab::up().await;
    let metrics = lab.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let writes: Vec<_> = (metrics.text.lines())
        .filter(|line| line.starts_with("weft_switch_writes_total{"))
        .collect();
    assert_eq!(writes.len(), 3, "{}", metrics.text);
    assert!(
        metrics
            .text
            .contains("weft_switch_connected{switch=\"s1\"} 1")
    );
    assert!(
        metrics
            .text
            .contains("weft_port_rx_packets_total{switch=\"s2\",port=\"west\"} 0")
    );
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn metrics_come_in_the_order_of_names_and_labels() {
    let lab = Lab::up().await;
    let text = lab.get("/metrics").await.text;
    let names: Vec<_> = (text.lines())
        .filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next())
        .collect();
    assert!(names.len() > 15 && names.is_sorted(), "{names:?}");
    for name in names {
        let samples: Vec<_> = (text.lines())
            .filter(|line| {
                line.split(['{', ' '])
                    .next()
                    .is_some_and(|of| of.strip_suffix("_total").unwrap_or(of) == name)
            })
            .collect();
        assert!(samples.is_sorted(), "{samples:#?}");
        let at = text
            .lines()
            .skip_while(|line| !line.starts_with(&format!("# TYPE {name} ")));
        assert_eq!(at.skip(1).take(samples.len()).collect::<Vec<_>>(), samples);
    }
}

#[tokio::test]
async fn a_link_goes_down_and_up_again() {
    let lab = Lab::up().await;
    let down = lab
        .patch("/v1/links/last", json!({ "state": "down" }))
        .await
        .is(200);
    assert_eq!(down["desiredState"], "down");
    let port = || async { lab.get("/v1/switches/s2/ports/east").await.is(200)["state"].clone() };
    let wait_for = |state: &'static str| async move {
        let reached = async {
            while port().await != state {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(super::lab::SOON, reached)
            .await
            .expect(state);
    };
    wait_for("down").await;
    lab.patch("/v1/links/s2:east", json!({ "state": "up" }))
        .await
        .is(200);
    wait_for("up").await;

    let problem = lab
        .patch("/v1/links/last", json!({ "state": "sideways" }))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["pointer"], "/state");
    let problem = lab
        .patch("/v1/links/last", json!({ "stat": "down" }))
        .await
        .problem(422);
    assert_eq!(problem["errors"][0]["didYouMean"], "state");
    lab.patch("/v1/links/last", json!({ "impair": null }))
        .await
        .is(200);
    lab.patch("/v1/links/x", json!({ "state": "down" }))
        .await
        .problem(404);
}

#[tokio::test]
async fn ready_means_that_every_switch_was_programmed() {
    let away = Lab::without_switches().await;
    assert_eq!(
        away.get("/v1/health/ready").await.is(503),
        json!({ "status": "starting" })
    );
    away.get("/v1/health/live").await.is(200);
    let lab = Lab::up().await;
    assert_eq!(
        lab.get("/v1/health/ready").await.is(200),
        json!({ "status": "ok" })
    );
}

#[tokio::test]
async fn what_is_declared_of_a_link_shows_and_decides_paths() {
    let lab = Lab::up().await;
    let first = lab
        .patch(
            "/v1/links/last",
            json!({ "metric": 7, "srlgs": ["duct"], "impair": { "delay": "5ms", "rate": "100mbit" } }),
        )
        .await;
    let link = first.is(200);
    assert_eq!(
        (
            &link["metric"],
            &link["srlgs"],
            &link["capacity"],
            &link["latency"]
        ),
        (
            &json!(7),
            &json!(["duct"]),
            &json!("100mbit"),
            &json!("5ms")
        )
    );
    assert_eq!(link["impair"], json!({ "delay": "5ms", "rate": "100mbit" }));
    assert_eq!(
        link["status"]["conditions"][0]["type"],
        "ImpairmentNotApplied"
    );
    let ask = json!({ "from": "s2", "to": "s3" });
    let ask = || super::lab::request("POST", "/v1/paths", &[], Some(ask.clone()));
    let found = lab.send(ask()).await.is(200);
    assert_eq!(
        (&found["paths"][0]["cost"], &found["paths"][0]["latency"]),
        (&json!(7), &json!("5ms"))
    );

    // The same again changes nothing; a stale revision is refused.
    let again = lab.patch("/v1/links/last", json!({ "metric": 7 })).await;
    assert_eq!(again.header("etag"), first.header("etag"));
    // One member of the impairment goes, the other stays; then all of it goes.
    let link = lab
        .patch("/v1/links/last", json!({ "impair": { "rate": null } }))
        .await
        .is(200);
    assert_eq!(link["impair"], json!({ "delay": "5ms" }));
    let link = lab
        .patch(
            "/v1/links/last",
            json!({ "impair": null, "metric": null, "srlgs": null }),
        )
        .await
        .is(200);
    assert_eq!(
        (
            &link["impair"],
            &link["metric"],
            &link["latency"],
            &link["status"]["conditions"]
        ),
        (&json!(null), &json!(1), &json!(null), &json!([]))
    );
    assert_eq!(lab.send(ask()).await.is(200)["paths"][0]["cost"], 1);

    for (change, pointer) in [
        (json!({ "metric": 0 }), "/metric"),
        (json!({ "metric": "7" }), "/metric"),
        (json!({ "srlgs": ["a b"] }), "/srlgs/0"),
        (json!({ "capacity": 5 }), "/capacity"),
        (json!({ "impair": { "delay": 5 } }), "/impair/delay"),
        (json!({ "impair": { "dealy": "5ms" } }), "/impair/dealy"),
        (json!([]), ""),
    ] {
        let problem = lab.patch("/v1/links/last", change).await.problem(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
}
