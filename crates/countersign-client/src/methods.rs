/// Defines the functions of a client that begin a request, one for each HTTP method, by its `request`.
macro_rules! methods {
    ($builder:ty) => {
        $crate::methods::methods! {
            $builder: get GET, head HEAD, post POST, put PUT, patch PATCH, delete DELETE
        }
    };
    ($builder:ty: $($name:ident $method:ident),+) => {
        $(
            #[doc = concat!("A ", stringify!($method), " request.")]
            pub fn $name(&self, url: impl reqwest::IntoUrl) -> $builder {
                self.request(http::Method::$method, url)
            }
        )+
    };
}

pub(crate) use methods;
