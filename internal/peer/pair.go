package peer

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
)

// PairOptions say whom to pair with, and how to prove that we may.
type PairOptions struct {
	Addr     string // host:port of the gateway's SSH server
	User     string // one of its administrators
	Password string
	// Trust sees the host key that the other side has, and its fingerprint; the
	// password is sent only when it returns nil. The key is pinned from then on.
	Trust   func(fingerprint, key string) error
	Request PairRequest
	Dial    Dialer
	Timeout time.Duration                // 0: 15 s beside the time Trust takes
	Fault   func(component, text string) // a panic, a hang
}

// Paired is what the manager keeps about the gateway.
type Paired struct {
	PairReply
	HostKey string // as in authorized_keys
}

// Pair logs in as an administrator, tells the gateway who its manager is, and
// gives what the gateway said about itself. The gateway has committed the change when
// Pair returns; pairing again with the same manager replaces it.
func Pair(ctx context.Context, o PairOptions) (Paired, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	word, err := o.Request.Encode()
	if err != nil {
		return Paired{}, err
	}
	fault := func(text string) { o.Fault(component, "pairing with "+o.Addr+": "+text) }
	hostKey, err := supervise(ctx, o.Timeout, fault, func(ctx context.Context) (ssh.PublicKey, error) { return hostKeyOf(ctx, o) })
	if err != nil {
		return Paired{}, err
	}
	line := strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(hostKey)), "\n")
	if err := o.Trust(ssh.FingerprintSHA256(hostKey), line); err != nil {
		return Paired{}, err
	}
	reply, err := supervise(ctx, o.Timeout, fault, func(ctx context.Context) (PairReply, error) { return pair(ctx, o, hostKey, word) })
	return Paired{PairReply: reply, HostKey: line}, err
}

// hostKeyOf looks at the host key and hangs up: a person may think about it for
// as long as it takes, and the password is not sent before.
func hostKeyOf(ctx context.Context, o PairOptions) (ssh.PublicKey, error) {
	var seen ssh.PublicKey
	stop := errs.New(errs.Closed, "only the host key was wanted")
	_, _, err := ask(ctx, o.Dial, question{addr: o.Addr, user: o.User, auth: ssh.Password(""), trust: func(key ssh.PublicKey) error {
		seen = key
		return stop
	}})
	if seen == nil {
		return nil, err
	}
	return seen, nil
}

func pair(ctx context.Context, o PairOptions, pinned ssh.PublicKey, word string) (PairReply, error) {
	out, ip, err := ask(ctx, o.Dial, question{
		addr: o.Addr, user: o.User, auth: ssh.Password(o.Password), line: PairCommand + " " + word,
		types: algorithms(pinned.Type()),
		trust: func(key ssh.PublicKey) error { return samePin(o.Addr, pinned, key) },
	})
	if err != nil {
		return PairReply{}, err
	}
	var r PairReply
	if err := decode(out, &r); err != nil {
		return PairReply{}, errs.Context(err, "the answer of %s", o.Addr)
	}
	if err := r.Check(); err != nil {
		return PairReply{}, errs.Context(err, "the answer of %s", o.Addr)
	}
	addr, _ := netip.AddrFromSlice(ip)
	r.Location, err = r.Location.at(addr.Unmap())
	return r, err
}
