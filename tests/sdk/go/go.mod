module narthex/tests/sdk/go

go 1.24.0

require (
	connectrpc.com/connect v1.16.2
	github.com/scalekit-inc/scalekit-sdk-go/v2 v2.6.0
	google.golang.org/protobuf v1.35.2
)

require github.com/go-jose/go-jose/v4 v4.1.4 // indirect

// The module proxy that CI reaches does not serve the SDK: tests/sdk/fetch puts the stand-in here (README.md).
replace github.com/scalekit-inc/scalekit-sdk-go/v2 => ../../../target/sdk/go-client
