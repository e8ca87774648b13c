use countersign::{
    Content, FieldType, FieldTypes, Message, Origin, Origins, RequestHead, ResponseHead, Scheme,
    Target,
};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::{
    PolicyName, Verify,
    message_file::{MessageBody, MessageFile, Start},
};
use crate::{failure::Failure, input::read_file};

const MESSAGE_HINT: &str = "name the file of a raw HTTP/1.1 message, or `-` for stdin";

/// The message to verify and, for a response, its request.
pub(super) struct Exchange {
    message: Parsed,
    request: Option<Parsed>,
    field_types: Vec<(&'static str, FieldType)>,
}

struct Parsed {
    start: StartLine,
    headers: HeaderMap,
    body: MessageBody,
}

/// A start line. For a request it includes the origin.
enum StartLine {
    Request { method: Method, uri: Uri, version: Version, origin: Origin },
    Response { status: StatusCode },
}

/// A request as it was received.
pub(super) struct ReceivedRequest<'e> {
    pub(super) head: RequestHead<'e>,
    pub(super) uri: &'e Uri,
    pub(super) version: Version,
    pub(super) body: &'e MessageBody,
}

impl Exchange {
    pub(super) fn read(arguments: &Verify) -> Result<Self, Failure> {
        let name = &arguments.message;
        let scheme = (arguments.scheme, arguments.policy);
        let field_types = arguments.field_types.clone();
        let Some(file) = &arguments.request else {
            let message = Parsed::read(name, scheme, None)?;
            return Ok(Self { message, request: None, field_types });
        };
        let request_file = Parsed::read(file, scheme, None)?;
        let Some(request) = request_file.request() else {
            return Err(Failure::local(
                "--request names a response",
                "name the file of the request of this response",
            ));
        };
        let message = Parsed::read(name, scheme, Some(request.head.method))?;
        if message.request().is_some() {
            return Err(Failure::local(
                "--request is for a response, and the message is a request",
                "leave --request out",
            ));
        }
        Ok(Self { message, request: Some(request_file), field_types })
    }

    /// Returns the message. A response includes its request.
    pub(super) fn message(&self) -> Message<'_> {
        let message = self.message.message();
        let message = message.with_field_types(FieldTypes::with(&self.field_types));
        match self.request.as_ref().and_then(Parsed::request) {
            Some(request) => {
                message.with_request(request.head).with_request_trailers(&request.body.trailers)
            }
            None => message,
        }
    }

    /// Returns the message, if it is a request.
    pub(super) fn request(&self) -> Option<ReceivedRequest<'_>> {
        self.message.request()
    }

    pub(super) const fn body(&self) -> &MessageBody {
        &self.message.body
    }
}

impl Parsed {
    fn read(
        name: &str,
        (scheme, policy): (Scheme, PolicyName),
        request_method: Option<&Method>,
    ) -> Result<Self, Failure> {
        let file = MessageFile::parse(&read_file(name, MESSAGE_HINT)?, request_method)?;
        let origin = match policy {
            PolicyName::Default => file.origin(scheme),
            PolicyName::None => file.target_origin().unwrap_or_else(|| file.origin(scheme)),
        };
        let start = match file.start {
            Start::Request { method, uri, version } => {
                StartLine::Request { method, uri, version, origin: origin? }
            }
            Start::Response { status, .. } => StartLine::Response { status },
        };
        Ok(Self { start, headers: file.headers, body: file.body })
    }

    fn message(&self) -> Message<'_> {
        let message = match &self.start {
            StartLine::Request { method, uri, origin, .. } => {
                let target = Target::new(uri, Version::HTTP_11);
                Message::from(RequestHead { method, target, origin, headers: &self.headers })
            }
            StartLine::Response { status } => {
                Message::from(ResponseHead { status: *status, headers: &self.headers })
            }
        };
        message.with_trailers(&self.body.trailers)
    }

    fn request(&self) -> Option<ReceivedRequest<'_>> {
        let Self { start, headers, body } = self;
        let StartLine::Request { method, uri, version, origin } = start else { return None };
        let target = Target::new(uri, Version::HTTP_11);
        let head = RequestHead { method, target, origin, headers };
        Some(ReceivedRequest { head, uri, version: *version, body })
    }
}

impl ReceivedRequest<'_> {
    /// Returns whether a server reads content. Content needs a length in the head.
    pub(super) const fn content(&self) -> Content {
        if self.body.unframed { Content::Absent } else { self.body.content }
    }

    /// Returns the content that a server reads.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.body.unframed { &[] } else { &self.body.bytes }
    }

    /// Returns the origin of the request, as the only origin of its server.
    pub(super) fn origins(&self) -> Result<Origins, Failure> {
        Origins::new([self.head.origin.clone()])
            .map_err(|error| Failure::local(error, "see --help"))
    }
}
