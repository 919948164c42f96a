//! A host with the guest `call-faults` and the extension `probe` that it calls, and its admin address.

use std::time::Duration;

use backplane_tests::{Lab, Running, component, library, within};

/// A lab whose host serves health and metrics on a free port. `more` goes on at the workload's table.
pub(crate) fn lab(settings: &str, more: &str) -> Lab {
    let lab = Lab::new();
    lab.write("plugins/probe.so", library("probe"));
    let guest = component("call-faults");
    lab.with_variable("BACKPLANE_ADMIN__LISTEN", "127.0.0.1:0").with_config(&format!(
        "enable = [\"probe\"]\nhttp.listen = \"127.0.0.1:0\"\n{settings}\n\
         [workloads.shop]\ncomponent = {guest:?}\nhttp = {{}}\n{more}\n"
    ))
}

/// An admin address.
pub(crate) struct Admin(pub(crate) String);

impl Admin {
    pub(crate) async fn of(host: &mut Running) -> Self {
        Self(host.admin().await)
    }

    /// Status and text of a `GET`.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let response = self.request("GET", path).send();
        let response = within(path, response).await.unwrap();
        (response.status().as_u16(), within(path, response.text()).await.unwrap())
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.0);
        reqwest::Client::new().request(method.parse().unwrap(), url)
    }

    /// Waits until a path answers so; says how.
    pub(crate) async fn until(&self, path: &str, status: u16, part: &str) -> String {
        let answered = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                let answer = self.get(path).await;
                if answer.0 == status && answer.1.contains(part) {
                    return answer.1;
                }
            }
        };
        within(&format!("{path} answers {status} with `{part}`"), answered).await
    }
}
