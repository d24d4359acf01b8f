import Foundation
internal import RemintCore

/// What to show to a person who authorizes this client on another device (RFC 8628 section 3.2).
public struct DeviceAuthorization: Sendable {
    /// What they type in. Show it even where a QR code is scanned, so that they can compare.
    public let userCode: String

    /// Where they type it in.
    public let verificationURI: String

    /// The same with the code in it, if the server gives one.
    public let verificationURIComplete: String?

    /// The text for a QR code.
    public let qrText: String

    /// For how long they may take.
    public let expiresIn: Duration

    /// The time between two questions to the server.
    public let interval: Duration

    /// What `Client.poll` goes on with: opaque, serializable and secret.
    public let session: String

    init(_ pending: Pending) throws {
        guard let userCode = pending.userCode, let uri = pending.verificationUri else {
            throw RemintError.misuse(
                "this server asks people on a device of their own: use `backchannelAuthentication`")
        }
        self.userCode = userCode
        verificationURI = uri
        verificationURIComplete = pending.verificationUriComplete
        qrText = pending.qrText ?? uri
        expiresIn = .milliseconds(pending.expiresIn)
        interval = .milliseconds(pending.interval)
        session = pending.session.expose()
    }
}

/// A person is being asked on a device of their own (OpenID CIBA section 7.3).
public struct BackchannelAuthentication: Sendable {
    /// For how long they may take.
    public let expiresIn: Duration

    /// The time between two questions to the server.
    public let interval: Duration

    /// What `Client.poll` goes on with: opaque, serializable and secret.
    public let session: String

    init(_ pending: Pending) {
        expiresIn = .milliseconds(pending.expiresIn)
        interval = .milliseconds(pending.interval)
        session = pending.session.expose()
    }
}

/// What a server knows about a token (RFC 7662 section 2.2).
public struct Introspection: Sendable {
    /// Whether it is good, says the server.
    public let isActive: Bool

    /// The whole answer, as JSON text. It may be about a person.
    public let json: String

    /// The answer's members, such as `scope`, `sub` and `exp`.
    public var claims: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(json.utf8))) as? [String: Any] ?? [:]
    }
}

extension DeviceAuthorization: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "DeviceAuthorization(\(userCode) at \(verificationURI), session: (redacted))" }
    public var debugDescription: String { description }

    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "userCode": userCode, "verificationURI": verificationURI, "expiresIn": expiresIn, "interval": interval,
            "session": "(redacted)",
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

extension BackchannelAuthentication: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "BackchannelAuthentication(session: (redacted))" }
    public var debugDescription: String { description }

    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "expiresIn": expiresIn, "interval": interval, "session": "(redacted)",
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

extension Introspection: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Introspection(isActive: \(isActive))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["isActive": isActive], displayStyle: .struct) }
}
