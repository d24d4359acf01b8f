import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

// What a user writes first. The authority's address comes from outside.
let base = CommandLine.arguments[1]
var configuration = Configuration()
configuration.variables = ["token_endpoint": "\(base)/oauth/token", "base_url": base]
configuration.allowLoopbackHTTP = true

let wallet = try Client(
    "phoenix-wallet", clientID: "demo-client", clientSecret: "s3cret+/%&: odd", scope: ["wallets:read"],
    configuration: configuration)
let (data, response) = try await wallet.data(for: URLRequest(url: URL(string: "\(base)/v1/wallets")!))
print(response.statusCode, String(decoding: data, as: UTF8.self))
