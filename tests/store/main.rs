//! The store's contract, shown on both databases, and what only one of them has to show.

#![expect(clippy::unwrap_used, reason = "a test fails by its panic")]

mod audit;
mod company;
mod crash;
mod credential;
mod database;
mod disk;
mod gateway;
mod grant;
mod machine;
mod migration;
mod oauth;
mod plan;
mod principal;
mod reach;
mod recording;
mod request;
mod server;
mod session;
mod team;
mod tenancy;
mod ticket;
mod world;
mod writer;

/// Runs each named case on SQLite, as a test of its own, and all of them on one PostgreSQL server, each in a database of its own.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(super::super::world::World::sqlite().await).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_same_holds_on_postgresql() {
            $(
                eprintln!(concat!("on PostgreSQL: ", stringify!($case)));
                $case(super::world::World::postgres().await).await;
            )*
        }
    };
}
use on_both;
