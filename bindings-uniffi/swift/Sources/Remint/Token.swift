import Foundation
internal import RemintCore

/// An access token. Printing, dumping or reflecting it shows no secret.
///
/// A token is a value of the moment: ask the client for one whenever you need one, instead of keeping it.
public struct Token: Sendable {
    let storage: Storage

    init(_ lease: RemintCore.Lease, call: String, clock: SystemOrTestClock) {
        storage = Storage(lease: lease, call: call, clock: clock)
    }

    /// The token itself: a secret.
    public var accessToken: String { storage.lease.accessToken.expose() }

    /// Its type, as in `Bearer` (RFC 6749 section 7.1).
    public var tokenType: String { storage.lease.tokenType }

    /// The value of the header that it goes into: a secret.
    public var authorization: String { storage.lease.authorization.expose() }

    /// The scope that was granted, space-separated (RFC 6749 section 3.3), if that is known.
    public var scope: String? { storage.lease.scope }

    /// When it runs out, by the wall clock.
    public var expiresAt: Date { Date(timeIntervalSince1970: Double(storage.lease.expiresWall) / 1000) }

    /// Counts the tokens of one client, subject and scope, from 1.
    public var generation: Int { Int(clamping: storage.lease.generation) }

    /// What it has left now, by the clock that says less: never below zero, in steps of a millisecond.
    public func expiresIn() -> Duration {
        let now = storage.clock.now()
        let boot = storage.lease.expires.subtractingReportingOverflow(now.boot)
        let wall = storage.lease.expiresWall.subtractingReportingOverflow(now.wall)
        let left = min(boot.overflow ? .max : boot.partialValue, wall.overflow ? .max : wall.partialValue)
        return .milliseconds(max(0, left))
    }

    /// What ties a token to the step machine that gave it out.
    final class Storage: Sendable {
        let lease: RemintCore.Lease
        let call: String
        let clock: SystemOrTestClock

        init(lease: RemintCore.Lease, call: String, clock: SystemOrTestClock) {
            self.lease = lease
            self.call = call
            self.clock = clock
        }
    }
}

extension Token: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String {
        "Token(\(tokenType), generation \(generation), expires at \(expiresAt))"
    }

    public var debugDescription: String { description }

    public var customMirror: Mirror {
        let children: KeyValuePairs<String, Any> = [
            "tokenType": tokenType, "scope": scope as Any, "expiresAt": expiresAt, "generation": generation,
        ]
        return Mirror(self, children: children, displayStyle: .struct)
    }
}

/// Where to send the browser, and what to keep until it is back (RFC 6749 section 4.1.1).
public struct Authorization: Sendable {
    /// The URL for the browser. It holds the `state` and the PKCE challenge, and no secret.
    public let url: URL

    /// Opaque, serializable and secret: keep it with the web session, or in the Keychain of a mobile app, and hand it
    /// to `Client.exchange` when the browser is back.
    public let session: String
}

extension Authorization: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "Authorization(session: (redacted))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["session": "(redacted)"], displayStyle: .struct) }
}

/// A URL with the token in its query, which logs and histories keep: only for the few providers that want that.
public struct InsecureURL: Sendable {
    /// The URL, which is a secret.
    public let url: URL

    /// Headers for the answer that carries the URL, so that no cache keeps it.
    public let headers: [String: String]
}

extension InsecureURL: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "InsecureURL(url: (redacted))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["url": "(redacted)"], displayStyle: .struct) }
}
