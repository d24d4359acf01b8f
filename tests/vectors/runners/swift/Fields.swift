/// What differs, or what is not understood.
struct Problem: Error {
    let text: String

    init(_ text: String) {
        self.text = text
    }
}

/// The members of an object, taken out one by one so that none is passed over.
struct Fields {
    private let what: String
    private var left: [String: JSON]

    init(_ what: String, _ value: JSON) throws {
        guard case .object(let members) = value else { throw Problem("  \(what) must be an object") }
        self.what = what
        left = members
    }

    func has(_ name: String) -> Bool {
        left[name] != nil
    }

    mutating func take(_ name: String) -> JSON? {
        left.removeValue(forKey: name)
    }

    mutating func need(_ name: String) throws -> JSON {
        guard let value = take(name) else { throw Problem("  \(what) needs `\(name)`") }
        return value
    }

    /// The members of these names that are there.
    mutating func some(_ names: [String]) -> [String: JSON] {
        var some: [String: JSON] = [:]
        for name in names {
            if let value = take(name) { some[name] = value }
        }
        return some
    }

    mutating func string(_ name: String) throws -> String? {
        try optional(name, "a string") { $0.string }
    }

    mutating func integer(_ name: String) throws -> Int64? {
        try optional(name, "an integer") { $0.integer }
    }

    mutating func bool(_ name: String) throws -> Bool? {
        try optional(name, "a boolean") {
            guard case .bool(let value) = $0 else { return nil }
            return value
        }
    }

    mutating func strings(_ name: String) throws -> [String]? {
        try optional(name, "a list of strings") { value in
            guard let items = value.array else { return nil }
            let strings = items.compactMap(\.string)
            return strings.count == items.count ? strings : nil
        }
    }

    private mutating func optional<Value>(_ name: String, _ kind: String, _ read: (JSON) -> Value?) throws -> Value? {
        guard let value = take(name), value != .null else { return nil }
        guard let read = read(value) else { throw Problem("  `\(name)` of \(what) must be \(kind)") }
        return read
    }

    func end() throws {
        if let name = left.keys.min() { throw Problem("  `\(name)` of \(what) is not understood") }
    }
}
