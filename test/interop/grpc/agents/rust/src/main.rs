//! The Rust client's part in the table; what it says on stdout is told at the head of behaviours.ts.
//!   agent <host:port> <prefix> <behaviours, by commas>

mod restart;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocketmq::conf::{ClientOption, ProducerOption, SimpleConsumerOption};
use rocketmq::error::ClientError;
use rocketmq::model::common::{FilterExpression, FilterType};
use rocketmq::model::message::{MessageBuilder, MessageView};
use rocketmq::model::transaction::{Transaction, TransactionResolution};
use rocketmq::{Producer, SimpleConsumer};

type Told = Result<Vec<String>, ClientError>;

struct Agent {
    endpoint: String,
    prefix: String,
    producer: Producer,
}

fn client(endpoint: &str) -> ClientOption {
    let mut option = ClientOption::default();
    option.set_access_url(endpoint);
    option.set_enable_tls(false);
    option.set_long_polling_timeout(Duration::from_secs(3));
    option
}

impl Agent {
    fn topic(&self, behaviour: &str) -> String {
        format!("{}-{}", self.prefix, behaviour)
    }

    fn message(&self, behaviour: &str, body: &str) -> MessageBuilder {
        MessageBuilder::builder()
            .set_topic(self.topic(behaviour))
            .set_body(body.as_bytes().to_vec())
    }

    async fn consumer(&self, behaviour: &str) -> Result<SimpleConsumer, ClientError> {
        let mut option = SimpleConsumerOption::default();
        option.set_topics(vec![self.topic(behaviour)]);
        option.set_consumer_group(format!("{}-g", self.topic(behaviour)));
        let mut consumer = SimpleConsumer::new(option, client(&self.endpoint))?;
        consumer.start().await?;
        Ok(consumer)
    }

    /// Takes and acknowledges until there are so many, or the time is over.
    async fn take(
        &self,
        consumer: &SimpleConsumer,
        behaviour: &str,
        filter: FilterExpression,
        count: usize,
        seconds: u64,
    ) -> Result<Vec<MessageView>, ClientError> {
        let mut taken = vec![];
        let until = Instant::now() + Duration::from_secs(seconds);
        while taken.len() < count && Instant::now() < until {
            for view in consumer.receive(self.topic(behaviour), &filter).await? {
                consumer.ack(&view).await?;
                taken.push(view);
            }
        }
        Ok(taken)
    }

    async fn normal(&self) -> Told {
        let consumer = self.consumer("normal").await?;
        let hello = self.message("normal", "hello").set_tag("blue").set_keys(vec!["k1"]);
        let hello = hello.set_properties([("colour", "red")].into());
        self.producer.send(hello.build()?).await?;
        let views = self.take(&consumer, "normal", all(), 1, 15).await?;
        let view = &views[0];
        Ok(vec![
            body(view),
            view.tag().unwrap_or("").to_string(),
            view.keys()[0].clone(),
            view.properties()["colour"].clone(),
            view.delivery_attempt().to_string(),
        ])
    }

    async fn fifo(&self) -> Told {
        let consumer = self.consumer("fifo").await?;
        for n in 0..6 {
            let one = self.message("fifo", &n.to_string()).set_message_group("one");
            self.producer.send(one.build()?).await?;
        }
        Ok(bodies(&self.take(&consumer, "fifo", all(), 6, 15).await?))
    }

    async fn delay(&self) -> Told {
        let consumer = self.consumer("delay").await?;
        let began = Instant::now();
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3;
        let later = self.message("delay", "later").set_delivery_timestamp(at as i64);
        self.producer.send(later.build()?).await?;
        self.take(&consumer, "delay", all(), 1, 15).await?;
        let early = began.elapsed() < Duration::from_millis(1_900);
        Ok(vec![if early { "early" } else { "in time" }.to_string()])
    }

    async fn transaction(&self) -> Told {
        let consumer = self.consumer("transaction").await?;
        for end in ["rollback", "commit"] {
            let half = self.message("transaction", end).enable_transaction().build()?;
            let transaction = self.producer.send_transaction_message(half).await?;
            match end {
                "commit" => transaction.commit().await?,
                _ => transaction.rollback().await?,
            }
        }
        Ok(bodies(&self.take(&consumer, "transaction", all(), 2, 4).await?))
    }

    async fn check_back(&self) -> Told {
        let consumer = self.consumer("checkBack").await?;
        let half = self.message("checkBack", "checked").enable_transaction().build()?;
        let _left_open = self.producer.send_transaction_message(half).await?;
        Ok(bodies(&self.take(&consumer, "checkBack", all(), 1, 30).await?))
    }

    async fn tag_filter(&self) -> Told {
        let consumer = self.consumer("tagFilter").await?;
        for tag in ["red", "blue", "green"] {
            self.producer.send(self.message("tagFilter", tag).set_tag(tag).build()?).await?;
        }
        let filter = FilterExpression::new(FilterType::Tag, "blue || green");
        Ok(sorted(bodies(&self.take(&consumer, "tagFilter", filter, 2, 15).await?)))
    }

    async fn sql_filter(&self) -> Told {
        let consumer = self.consumer("sqlFilter").await?;
        for n in ["1", "2", "3", "4"] {
            let numbered = self.message("sqlFilter", n).set_properties([("n", n)].into());
            self.producer.send(numbered.build()?).await?;
        }
        let filter = FilterExpression::new(FilterType::Sql, "n > 2");
        Ok(sorted(bodies(&self.take(&consumer, "sqlFilter", filter, 2, 15).await?)))
    }
}

fn all() -> FilterExpression {
    FilterExpression::new(FilterType::Tag, "*")
}

fn body(view: &MessageView) -> String {
    String::from_utf8_lossy(view.body()).to_string()
}

fn bodies(views: &[MessageView]) -> Vec<String> {
    views.iter().map(body).collect()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn text(text: &str) -> String {
    let plain: String = text.chars().filter(|one| !one.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments[1] == "restart" {
        restart::run(&arguments[2], &arguments[3], arguments[4].parse().unwrap()).await
    }
    let names: Vec<&str> = arguments[3].split(',').collect();
    let prefix = arguments[2].clone();
    let mut option = ProducerOption::default();
    option.set_topics(names.iter().map(|name| format!("{prefix}-{name}")).collect::<Vec<String>>());
    let checker = Box::new(|_, _| TransactionResolution::COMMIT);
    let mut producer =
        Producer::new_transaction_producer(option, client(&arguments[1]), checker).expect("a producer");
    producer.start().await.expect("a start");
    let agent = Agent { endpoint: arguments[1].clone(), prefix, producer };
    for step in names {
        let told = match step {
            "normal" => agent.normal().await,
            "fifo" => agent.fifo().await,
            "delay" => agent.delay().await,
            "transaction" => agent.transaction().await,
            "checkBack" => agent.check_back().await,
            "tagFilter" => agent.tag_filter().await,
            "sqlFilter" => agent.sql_filter().await,
            _ => {
                let api = match step {
                    "recall" => "recall",
                    "priority" => "set_priority",
                    "changeInvisible" => "change_invisible_duration",
                    _ => "PushConsumer",
                };
                println!("{{\"step\":{},\"missing\":{}}}", text(step), text(api));
                continue;
            }
        };
        let line = match told {
            Ok(texts) => {
                let texts: Vec<String> = texts.iter().map(|one| text(one)).collect();
                format!("\"result\":[{}]", texts.join(","))
            }
            Err(error) => format!("\"error\":{}", text(&format!("{error:?}"))),
        };
        println!("{{\"step\":{},{}}}", text(step), line);
    }
    std::process::exit(0)
}
