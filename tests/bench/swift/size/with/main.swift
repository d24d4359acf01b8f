// Sends one request with a token on it. ../without does the same without.
import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

let request = URLRequest(url: URL(string: CommandLine.arguments[1])!)
let client = try Client("phoenix-wallet", clientID: "wallet-client", clientSecret: CommandLine.arguments[2])
let (data, _) = try await client.data(for: request)
print(data.count)
