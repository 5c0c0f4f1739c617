//! Many replicas, kills, and a network and a server that fail: everything runs once, every report is true, nothing is left
//! behind. `make campaign` does the same hundreds of times.

use plinth_tests::{
    campaign::{crashes_of_the_server, crowd, cuts_at_every_boundary, kills_at_every_boundary, kills_at_random, old_and_new},
    server,
};

#[tokio::test]
async fn case_07_after_a_kill_at_any_message_the_next_boot_converges_and_nothing_ran_twice() {
    kills_at_every_boundary(server(), 6).await.assert_at_least(10);
}

#[tokio::test]
async fn case_24_a_kill_at_any_moment_loses_nothing() {
    kills_at_random(server(), 8).await.assert_at_least(8);
}

#[tokio::test]
async fn case_12_a_boot_outlives_the_crash_of_its_server() {
    crashes_of_the_server(3).await.assert_at_least(3);
}

#[tokio::test]
async fn a_boot_outlives_the_loss_of_its_connections_at_any_message() {
    cuts_at_every_boundary(server(), 7).await.assert_at_least(8);
}

#[tokio::test]
async fn case_08_of_32_replicas_on_a_new_database_one_applies_and_all_start() {
    crowd(server(), 32, false).await.assert_at_least(1);
}

#[tokio::test]
async fn case_08_of_32_replicas_with_pending_blocks_one_applies_and_all_start() {
    crowd(server(), 32, true).await.assert_at_least(1);
}

#[tokio::test]
async fn case_08_the_old_and_the_new_release_start_at_once() {
    old_and_new(server(), 8).await.assert_at_least(1);
}
