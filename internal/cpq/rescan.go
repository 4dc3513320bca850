package cpq

import (
	"math"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// Rescan travels from a manager to the gateway that made the deposit: its
// engines are to look at the content again, which stays with the manager. The
// reply to the content is ReplyFound, and nothing is kept by the gateway.
type Rescan struct {
	Key        mail.Key
	ManagerMID mail.MID
	Size       int64
	Hash       mail.Hash
}

// VersionRescan is the version of such a block.
const VersionRescan = 5

func (e *encoder) rescan(r *Rescan) {
	e.raw(`"rescan":{`)
	e.text("key", string(r.Key))
	e.number(",manager_mid", uint64(r.ManagerMID))
	e.number(",size", uint64(r.Size))
	e.text(",sha256", r.Hash.String())
	e.raw("}")
}

func (d *decoder) rescan() *Rescan {
	r := &Rescan{
		Key:        mail.Key(d.text("key", 100)),
		ManagerMID: mail.MID(d.number(",manager_mid", math.MaxUint64)),
		Size:       int64(d.number(",size", math.MaxInt64)),
		Hash:       d.hash(",sha256"),
	}
	d.expect("}")
	return r
}

func (r *Rescan) check() error {
	_, serial, mid, err := mail.ParseKey(string(r.Key))
	switch {
	case err != nil:
		return errs.Context(err, "metadata: key")
	case mail.NewKey(serial, mid, r.Hash) != r.Key:
		return errs.New(errs.Invalid, "metadata: sha256 is not the one in the key")
	case r.ManagerMID == 0:
		return errs.New(errs.Invalid, "metadata: mid is 0")
	case r.Size < 0:
		return errs.New(errs.Invalid, "metadata: size is negative")
	}
	return nil
}

// Words of ReplyFound.
const (
	foundHarmless = "found harmless: "
	foundDoubtful = "found: "
	maxFound      = 400 // octets of a finding
)

// ReplyFound answers the content of a re-scan.
func ReplyFound(f mail.Finding) smtp.Reply {
	word := foundDoubtful
	if f.Harmless {
		word = foundHarmless
	}
	return smtp.NewReply(250, "2.0.0", word+ascii(f.Text))
}

// ascii gives text that a reply may carry, cut.
func ascii(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 32 || r > 126 {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxFound)]
}

// ParseFound reads what ReplyFound gives. Any other reply is an error: nothing
// was found, and the message is what it was.
func ParseFound(r smtp.Reply) (mail.Finding, error) {
	if r.Code == 250 && len(r.Text) == 1 {
		text := r.Text[0]
		if rest, ok := strings.CutPrefix(text, foundHarmless); ok && ascii(rest) == rest {
			return mail.Finding{Harmless: true, Text: rest}, nil
		}
		if rest, ok := strings.CutPrefix(text, foundDoubtful); ok && ascii(rest) == rest {
			return mail.Finding{Text: rest}, nil
		}
	}
	return mail.Finding{}, errs.New(errs.Invalid, "reply %q says nothing about a re-scan", r.String())
}
