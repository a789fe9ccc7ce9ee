//! The Rust client's part in restarts; what it says on stdout is told at the head of restart.ts.
//!   agent restart <host:port> <topic> <sends at once>

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use rocketmq::conf::{ProducerOption, SimpleConsumerOption};
use rocketmq::model::message::MessageBuilder;
use rocketmq::{Producer, SimpleConsumer};
use tokio::time::sleep;

use crate::{all, client, text};

pub async fn run(endpoint: &str, topic: &str, width: usize) -> ! {
    let mut option = ProducerOption::default();
    option.set_topics(vec![topic]);
    let mut producer = Producer::new(option, client(endpoint)).expect("a producer");
    producer.start().await.expect("a start");
    let producer = Arc::new(producer);
    let count = Arc::new(AtomicI64::new(0));
    let busy = Arc::new(AtomicI64::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    for _ in 0..width {
        let (producer, count, busy, stopped) = (producer.clone(), count.clone(), busy.clone(), stopped.clone());
        let topic = topic.to_string();
        tokio::spawn(async move {
            while !stopped.load(SeqCst) {
                let body = format!("m-{}", count.fetch_add(1, SeqCst));
                busy.fetch_add(1, SeqCst);
                let message = MessageBuilder::builder().set_topic(&topic).set_body(body.clone().into_bytes());
                if producer.send(message.build().unwrap()).await.is_ok() {
                    println!("{{\"acked\":{}}}", text(&body));
                }
                busy.fetch_sub(1, SeqCst);
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    let mut option = SimpleConsumerOption::default();
    option.set_topics(vec![topic]);
    option.set_consumer_group(format!("{topic}-g"));
    let mut consumer = SimpleConsumer::new(option, client(endpoint)).expect("a consumer");
    consumer.start().await.expect("a start");
    let topic = topic.to_string();
    tokio::spawn(async move {
        loop {
            match consumer.receive_with(&topic, &all(), 32, Duration::from_secs(10)).await {
                Ok(views) => {
                    for view in views {
                        println!("{{\"got\":{}}}", text(&crate::body(&view)));
                        let _ = consumer.ack(&view).await; // when it fails, it may come again
                    }
                }
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
        }
    });
    let ended = stopped.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        ended.store(true, SeqCst);
    });
    println!("{{\"started\":true}}");
    loop {
        sleep(Duration::from_millis(20)).await;
        println!("{{\"busy\":{}}}", busy.load(SeqCst));
    }
}
