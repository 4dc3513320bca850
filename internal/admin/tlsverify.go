package admin

import (
	"context"
	"strconv"

	"lazaret/internal/auth"
)

// TLSVerifier looks at the TLS of a domain's hosts, or of one host and port.
type TLSVerifier interface {
	Verify(ctx context.Context, name string, port uint16, say func(string)) error
}

// TLSCommands gives tlsverify.
func TLSCommands(v TLSVerifier) []Command {
	return []Command{{Name: "tlsverify", Summary: "Look at the TLS of a domain's mail servers", Usage: "tlsverify DOMAIN        (its SMTP route, or its MX hosts)\ntlsverify HOST PORT",
		Right: auth.QueueChange, MaxArgs: 2, Changes: true, Run: func(ctx context.Context, c *Call) error { return tlsVerify(ctx, c, v) }}}
}

func tlsVerify(ctx context.Context, c *Call, v TLSVerifier) error {
	if err := c.needs("a domain, or a host and a port"); err != nil {
		return err
	}
	name, err := c.Ask("Enter the TLS domain to verify against:", "")
	if err != nil {
		return err
	}
	port := 0
	if word := c.Take(); word != "" {
		if port, err = strconv.Atoi(word); err != nil || port < 1 || port > 65535 {
			return Usage("%q is not a port from 1 to 65535", Clip(word, 40))
		}
	}
	c.Live()
	return badArguments(v.Verify(ctx, name, uint16(port), func(line string) { c.Printf("%s\n", Plain(line)) }))
}
