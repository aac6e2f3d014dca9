//! A browser as far as cookies and redirects go: it keeps cookies by host, and follows one redirect at a time.

use std::collections::BTreeMap;

use reqwest::{Client, Response, Url};

/// A browser.
#[derive(Clone, Debug)]
pub struct Browser {
    client: Client,
    cookies: BTreeMap<(String, String), String>,
}

/// A page, or the redirect to one.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub cookies: Vec<String>,
    pub text: String,
}

/// The most redirects from a button to the console; the issuer alone makes five.
const MAX_HOPS: usize = 20;

impl Browser {
    pub fn new() -> Self {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        Self { client: client.build().unwrap(), cookies: BTreeMap::new() }
    }

    /// Gives a cookie of a host.
    pub fn cookie(&self, url: &str, name: &str) -> Option<&str> {
        self.cookies.get(&(host(url), name.to_owned())).map(String::as_str)
    }

    /// Takes the cookies of a request that was not this browser's own.
    pub fn keep(&mut self, url: &str, set: &[String]) {
        for cookie in set {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let key = (host(url), name.trim().to_owned());
            let ends =
                attributes.contains("Max-Age=0") || attributes.contains("expires=Thu, 01 Jan 1970");
            match ends || value.is_empty() {
                true => drop(self.cookies.remove(&key)),
                false => drop(self.cookies.insert(key, value.to_owned())),
            }
        }
    }

    /// Gives the `Cookie` header for an address.
    pub fn header(&self, url: &str) -> String {
        let of_host = self.cookies.iter().filter(|((place, _), _)| *place == host(url));
        of_host.map(|((_, name), value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Visits one address.
    pub async fn visit(&mut self, url: &str) -> Page {
        let request = self.client.get(url).header("cookie", self.header(url));
        let page = Page::read(url, request.send().await.unwrap()).await;
        self.keep(url, &page.cookies);
        page
    }

    /// Sends a form.
    pub async fn send(&mut self, url: &str, form: &[(&str, &str)]) -> Page {
        let request = self.client.post(url).header("cookie", self.header(url)).form(form);
        let page = Page::read(url, request.send().await.unwrap()).await;
        self.keep(url, &page.cookies);
        page
    }

    /// Goes from redirect to redirect until an address begins with `until`; gives it unvisited.
    pub async fn follow(&mut self, from: &str, until: &str) -> String {
        let mut url = from.to_owned();
        for _ in 0..MAX_HOPS {
            let page = self.visit(&url).await;
            url = page.location.unwrap_or_else(|| panic!("{url}: {} {}", page.status, page.text));
            if url.starts_with(until) {
                return url;
            }
        }
        panic!("{url} is still not {until}");
    }
}

impl Page {
    async fn read(url: &str, response: Response) -> Self {
        let text = |name: &str| {
            let all = response.headers().get_all(name).iter();
            all.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let location = text("location").pop();
        let base = Url::parse(url).unwrap();
        Self {
            status: response.status().as_u16(),
            location: location.map(|to| base.join(&to).unwrap().into()),
            cookies: text("set-cookie"),
            text: response.text().await.unwrap(),
        }
    }
}

fn host(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap())
}
