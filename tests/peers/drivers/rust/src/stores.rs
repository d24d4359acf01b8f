//! The stores that a fleet shares.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Client, RedisResult};
use remint::Builder;
use remint::client::{AsyncRedisStore, FileStore, RedisStore};
use serde_json::Value;

use crate::client::lock;

/// On a busy machine. What a caller waits for is bounded by the policy's `store_timeout`.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives the options the store that is described: one for threads, or one for tasks.
pub fn with_store(options: Builder, described: &Value, is_async: bool) -> Result<Builder, Box<dyn Error>> {
    let text = |name: &str| described[name].as_str().map(str::to_owned);
    if let Some(folder) = text("file") {
        return Ok(options.store(FileStore::new(folder)?));
    }
    let prefix = text("prefix").unwrap_or_else(|| "remint:".into());
    if let Some(url) = text("redis") {
        let client = Client::open(url)?;
        return Ok(match is_async {
            true => options.store_async(AsyncRedisStore::new(client)?.prefix(prefix).timeout(PATIENCE)),
            false => options.store(RedisStore::new(client)?.prefix(prefix).timeout(PATIENCE)),
        });
    }
    if let Some(nodes) = urls(&described["cluster"]) {
        let first = Client::open(nodes.first().cloned().unwrap_or_default())?;
        return Ok(match is_async {
            true => {
                let connect = move |timeout| {
                    let nodes = nodes.clone();
                    async move { cluster(nodes, timeout)?.get_async_connection().await }
                };
                options
                    .store_async(AsyncRedisStore::over(connect)?.notifications(first)?.prefix(prefix).timeout(PATIENCE))
            }
            false => {
                let connect = move |timeout| cluster(nodes.clone(), timeout)?.get_connection();
                options.store(RedisStore::over(connect)?.notifications(first)?.prefix(prefix).timeout(PATIENCE))
            }
        });
    }
    let sentinels =
        urls(&described["sentinel"]).ok_or("a store is in a file, a Redis, a cluster, or behind sentinels")?;
    let master = text("master").unwrap_or_default();
    let client = SentinelClient::build(sentinels, master, None, SentinelServerType::Master)?;
    Ok(match is_async {
        true => {
            let client = Arc::new(tokio::sync::Mutex::new(client));
            let found = client.clone();
            let connect = move |_| {
                let client = client.clone();
                async move { client.lock().await.get_async_connection().await }
            };
            let find = move || {
                let client = found.clone();
                async move { client.lock().await.async_get_client().await }
            };
            let store = AsyncRedisStore::over(connect)?.notifications_by(find);
            options.store_async(store.prefix(prefix).timeout(PATIENCE))
        }
        false => {
            let client = Arc::new(Mutex::new(client));
            let found = client.clone();
            let connect = move |timeout| {
                let connection = lock(&client).get_connection()?;
                connection.set_read_timeout(Some(timeout))?;
                Ok(connection)
            };
            let store = RedisStore::over(connect)?.notifications_by(move || lock(&found).get_client());
            options.store(store.prefix(prefix).timeout(PATIENCE))
        }
    })
}

fn cluster(nodes: Vec<String>, timeout: Duration) -> RedisResult<ClusterClient> {
    ClusterClientBuilder::new(nodes).connection_timeout(timeout).response_timeout(timeout).build()
}

fn urls(addresses: &Value) -> Option<Vec<String>> {
    let addresses = addresses.as_array()?.iter().filter_map(Value::as_str);
    Some(addresses.map(|address| format!("redis://{address}")).collect())
}
