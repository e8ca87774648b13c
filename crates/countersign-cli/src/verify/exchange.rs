use countersign::{Content, Message, Origin, Origins, RequestHead, ResponseHead, Scheme, Target};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::{
    Verify,
    message_file::{MessageFile, Start},
    read_file,
};
use crate::{failure::Failure, request_body::is_stdin};

const MESSAGE_HINT: &str = "name the file of a raw HTTP/1.1 message, or `-` for stdin";

/// The message that is looked at, and the request that it answers.
pub(super) struct Exchange {
    message: Named,
    answered: Option<Named>,
}

struct Named {
    start: Sent,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A start line, with the origin that a request means.
enum Sent {
    Request { method: Method, uri: Uri, version: Version, origin: Origin },
    Response { status: StatusCode },
}

/// A request as it came.
pub(super) struct Received<'e> {
    pub(super) head: RequestHead<'e>,
    pub(super) uri: &'e Uri,
    pub(super) version: Version,
    pub(super) body: &'e [u8],
}

impl Exchange {
    pub(super) fn read(arguments: &Verify) -> Result<Self, Failure> {
        let message = Named::read(&arguments.message, arguments.scheme)?;
        let Some(file) = &arguments.request else { return Ok(Self { message, answered: None }) };
        if message.request().is_some() {
            return Err(Failure::local(
                "--request is for a response, and the message is a request",
                "leave --request out",
            ));
        }
        if is_stdin(file) && is_stdin(&arguments.message) {
            return Err(Failure::local(
                "request and response cannot both be stdin",
                "name a file for one of them",
            ));
        }
        let answered = Named::read(file, arguments.scheme)?;
        if answered.request().is_none() {
            return Err(Failure::local(
                "--request names a response",
                "name the file of the request that was answered",
            ));
        }
        Ok(Self { message, answered: Some(answered) })
    }

    /// The message; a response with the request that it answers.
    pub(super) fn message(&self) -> Message<'_> {
        let message = self.message.message();
        match self.answered.as_ref().and_then(Named::request) {
            Some(request) => message.answering(request.head),
            None => message,
        }
    }

    /// The message, if it is a request.
    pub(super) fn request(&self) -> Option<Received<'_>> {
        self.message.request()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.message.body
    }
}

impl Named {
    fn read(name: &str, scheme: Scheme) -> Result<Self, Failure> {
        let file = MessageFile::parse(&read_file(name, MESSAGE_HINT)?)?;
        let origin = file.origin(scheme);
        let start = match file.start {
            Start::Request { method, uri, version } => {
                Sent::Request { method, uri, version, origin: origin? }
            }
            Start::Response { status } => Sent::Response { status },
        };
        Ok(Self { start, headers: file.headers, body: file.body })
    }

    fn message(&self) -> Message<'_> {
        match &self.start {
            Sent::Request { method, uri, origin, .. } => {
                let target = Target::new(uri, Version::HTTP_11);
                Message::from(RequestHead { method, target, origin, headers: &self.headers })
            }
            Sent::Response { status } => {
                Message::from(ResponseHead { status: *status, headers: &self.headers })
            }
        }
    }

    fn request(&self) -> Option<Received<'_>> {
        let Self { start, headers, body } = self;
        let Sent::Request { method, uri, version, origin } = start else { return None };
        let target = Target::new(uri, Version::HTTP_11);
        let head = RequestHead { method, target, origin, headers };
        Some(Received { head, uri, version: *version, body })
    }
}

impl Received<'_> {
    pub(super) const fn content(&self) -> Content {
        if self.body.is_empty() { Content::Absent } else { Content::Present }
    }

    /// The origin that it names, as all that its server answers for.
    pub(super) fn origins(&self) -> Result<Origins, Failure> {
        Origins::new([self.head.origin.clone()])
            .map_err(|error| Failure::local(error, "see --help"))
    }
}
