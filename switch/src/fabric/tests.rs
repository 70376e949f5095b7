use super::*;

#[test]
fn the_pipeline_survives_json() {
    let pipeline = pipeline();
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
}
