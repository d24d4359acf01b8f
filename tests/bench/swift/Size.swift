import Foundation

/// What the package adds to an executable: two programs that differ in it and in nothing else, which stand beside this one.
func size() throws {
    guard let folder = Bundle.main.executableURL?.deletingLastPathComponent() else { throw Unexpected() }
    let (with, without) = (
        try loaded(folder.appendingPathComponent("SizeWith")), try loaded(folder.appendingPathComponent("SizeWithout"))
    )
    print(
        """

        | Size | |
        |---|---:|
        | what Remint adds to an executable, symbols apart | \(grouped(Double(with - without) / 1000)) KB |
        | an executable with it, which sends one request by `URLSession` | \(grouped(Double(with) / 1000)) KB |
        | the same without it | \(grouped(Double(without) / 1000)) KB |
        """)
}

/// How many bytes of an ELF file are loaded when it runs: no symbol and no debug information is among them.
private func loaded(_ file: URL) throws -> Int {
    let bytes = try Data(contentsOf: file)
    func number(_ offset: Int, _ size: Int) -> Int {
        bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    let (table, entrySize, entries) = (number(32, 8), number(54, 2), number(56, 2))
    let segments = (0..<entries).map { table + $0 * entrySize }
    // PT_LOAD is 1; `p_filesz` is at 32.
    return segments.filter { number($0, 4) == 1 }.reduce(0) { $0 + number($1 + 32, 8) }
}
