// Package peer asks another appliance over SSH: once to pair with it, and then,
// as the command client, where it takes released mail.
//
// It is not a general remote control: it runs four hidden commands and reads one
// line of JSON from each. It promises that it speaks only to the host key that
// was pinned, that no call outlives its deadline, that a fault inside one
// attempt is that attempt's failure and nothing more, and that nothing the
// other side says is believed before it is checked: a gateway may be in
// hostile hands (reliability D5).
package peer

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strings"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// The commands of the other side, and the version of what they say.
const (
	PairCommand   = "cpqpair"
	LocateCommand = "cpqlocate"
	Version       = 1
)

// Limits of what is read from the other side.
const (
	maxAnswer = 16 * 1024
	maxPins   = 4
	maxText   = 255
)

// PairRequest is what a manager tells a gateway about itself.
type PairRequest struct {
	Version int      `json:"version"`
	Serial  string   `json:"serial"`
	Name    string   `json:"name"` // the manager's host name
	CPQ     string   `json:"cpq"`  // where the manager takes quarantined mail: IP:port
	Pins    []string `json:"pins"` // of its CPQ certificate
	Key     string   `json:"key"`  // of its command client, as in authorized_keys

	// Records names the database that the manager shares with others, or may; those
	// with the same name are managers of one gateway. Empty: it has one of its own.
	Records string `json:"records,omitempty"`
}

// PairReply is what the gateway answers.
type PairReply struct {
	Version  int      `json:"version"`
	Serial   string   `json:"serial"`
	Name     string   `json:"name"`
	Pins     []string `json:"pins"`
	User     string   `json:"user"` // whom the command client logs in as
	Location Location `json:"location"`
}

// Location is where an appliance takes CPQ connections.
type Location struct {
	Version   int            `json:"version"`
	Serial    string         `json:"serial"`
	Interface string         `json:"interface"`
	Addr      netip.AddrPort `json:"addr"` // the IP may be 0.0.0.0: that of the SSH connection
}

// Check reports what is wrong with a request.
func (r PairRequest) Check() error {
	if r.Version != Version {
		return errs.New(errs.Invalid, "pairing version %d is not known; this is version %d", r.Version, Version)
	}
	if err := checkIdentity(r.Serial, r.Name, r.Pins); err != nil {
		return err
	}
	if len(r.Records) > maxText || strings.Trim(r.Records, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return errs.New(errs.Invalid, "the name of the manager's database is not valid")
	}
	if a, err := netip.ParseAddrPort(r.CPQ); err != nil || a.Port() == 0 || a.Addr().IsUnspecified() {
		return errs.New(errs.Invalid, "%q is not the IP address and port of a manager", logs.Escape(clip(r.CPQ)))
	}
	if _, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(r.Key)); err != nil || len(options) > 0 || len(rest) > 0 || len(r.Key) > maxText*16 || strings.ContainsAny(r.Key, "\r\n") {
		return errs.New(errs.Invalid, "the key of the command client is not a public key")
	}
	return nil
}

// Encode gives the request as one word of a command line.
func (r PairRequest) Encode() (string, error) {
	r.Key = strings.TrimSpace(r.Key)
	if err := r.Check(); err != nil {
		return "", err
	}
	b, err := json.Marshal(r)
	return base64.RawURLEncoding.EncodeToString(b), errs.Wrap(errs.Internal, err, "encoding the pairing request")
}

// DecodePairRequest reads what Encode gave, and checks it.
func DecodePairRequest(word string) (PairRequest, error) {
	var r PairRequest
	if len(word) > 2*maxAnswer {
		return r, errs.New(errs.Invalid, "the pairing request is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(word)
	if err != nil {
		return r, errs.Wrap(errs.Invalid, err, "the pairing request is not in base64")
	}
	if err := decode(b, &r); err != nil {
		return r, errs.Context(err, "pairing request")
	}
	return r, r.Check()
}

// Check reports what is wrong with a reply.
func (r PairReply) Check() error {
	if r.Version != Version {
		return errs.New(errs.Invalid, "pairing version %d is not known; this is version %d", r.Version, Version)
	}
	if err := checkIdentity(r.Serial, r.Name, r.Pins); err != nil {
		return err
	}
	if !validWord(r.User) {
		return errs.New(errs.Invalid, "the login of the command client is not a user name")
	}
	return r.Location.check(r.Serial)
}

func (l Location) check(serial string) error {
	switch {
	case l.Version != Version:
		return errs.New(errs.Invalid, "location version %d is not known; this is version %d", l.Version, Version)
	case l.Serial != serial:
		return errs.New(errs.Denied, "the appliance says it is %q, not %q", logs.Escape(clip(l.Serial)), serial)
	case !validWord(l.Interface):
		return errs.New(errs.Invalid, "the interface's name is not valid")
	case !l.Addr.IsValid() || l.Addr.Port() == 0 || l.Addr.Addr().IsMulticast():
		return errs.New(errs.Invalid, "the CPQ address %s is not valid", l.Addr)
	}
	return nil
}

func checkIdentity(serial, name string, pins []string) error {
	if !mail.ValidSerial(serial) {
		return errs.New(errs.Invalid, "the serial number is not valid")
	}
	if _, err := mail.ParseDomain(name); err != nil {
		return errs.Context(err, "the host name is not valid")
	}
	if len(pins) == 0 || len(pins) > maxPins {
		return errs.New(errs.Invalid, "there must be 1 to %d pins of the CPQ certificate, not %d", maxPins, len(pins))
	}
	for _, p := range pins {
		b, ok := strings.CutPrefix(p, "sha256/")
		if sum, err := base64.StdEncoding.DecodeString(b); !ok || err != nil || len(sum) != 32 {
			return errs.New(errs.Invalid, "a pin of the CPQ certificate is not sha256/ and 32 bytes in base64")
		}
	}
	return nil
}

// decode reads exactly one JSON value without unknown fields.
func decode(b []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errs.Wrap(errs.Invalid, err, "not the JSON that was expected")
	}
	if d.More() {
		return errs.New(errs.Invalid, "text behind the JSON")
	}
	return nil
}

// validWord is the form of users and interfaces in what peers say.
func validWord(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_. ") == ""
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}
