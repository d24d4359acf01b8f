/// Reads the two kinds of value that public keys and signatures are made of (X.690): sequences and integers.
struct DER {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// Goes into a sequence. Whether there is one.
    mutating func enter() -> Bool {
        length(of: 0x30) != nil
    }

    /// An integer that is not negative, without zeros before it.
    mutating func integer() -> [UInt8]? {
        guard let length = length(of: 0x02), length > 0 else { return nil }
        defer { at += length }
        return Array(bytes[at..<(at + length)].drop { $0 == 0 })
    }

    /// The length of the value that begins here, which lies within the bytes.
    private mutating func length(of tag: UInt8) -> Int? {
        guard next() == tag, let first = next() else { return nil }
        var length = Int(first)
        if first > 0x80 {
            guard first <= 0x82 else { return nil }
            length = 0
            for _ in 0..<(first - 0x80) {
                guard let byte = next() else { return nil }
                length = length << 8 | Int(byte)
            }
        }
        return length <= bytes.count - at ? length : nil
    }

    private mutating func next() -> UInt8? {
        guard at < bytes.count else { return nil }
        defer { at += 1 }
        return bytes[at]
    }
}
