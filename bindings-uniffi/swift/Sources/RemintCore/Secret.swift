import Foundation

/// A token, credential, code or refresh token. Printing, dumping or reflecting it shows no secret.
///
/// The generated code of this module wraps each secret text in one when it comes out of the core, and unwraps it on its
/// way in.
public struct Secret: Sendable, Hashable {
    private let text: String

    /// Wraps a secret.
    public init(_ text: String) {
        self.text = text
    }

    /// The secret itself, in plain text: the one way to get at it.
    public func expose() -> String {
        text
    }
}

/// Bytes that may hold a secret, such as the body of a token endpoint's answer. Printing them shows nothing of them.
public struct SecretBytes: Sendable, Hashable {
    private let bytes: Data

    /// Wraps bytes.
    public init(_ bytes: Data) {
        self.bytes = bytes
    }

    /// The bytes themselves.
    public func expose() -> Data {
        bytes
    }
}

/// What is printed in a secret's place: by `print`, string interpolation, `debugPrint`, `dump` and the debugger.
private let redacted = "(redacted)"

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { redacted }
    public var debugDescription: String { redacted }
    /// Has no children: `dump` and `Mirror` find nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension SecretBytes: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { redacted }
    public var debugDescription: String { redacted }
    /// Has no children: `dump` and `Mirror` find nothing.
    public var customMirror: Mirror { Mirror(self, children: []) }
}
