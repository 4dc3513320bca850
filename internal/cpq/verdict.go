package cpq

import (
	"context"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// Words of the wire, docs/cpq.md section 11.
const (
	VerdictVerb    = "XVERDICT"
	VerdictKeyword = VerdictVerb + " " + VersionWord // in the EHLO reply after TLS
)

// Limits of verdicts, docs/cpq.md section 11.
const (
	MaxVerdicts = 100 // in one block
	maxRule     = 40  // octets of a rule's name
)

// Stand is what a gateway says of a message that a manager holds by an outbreak
// rule.
type Stand string

// The stands.
const (
	ByRule   Stand = "held"    // the rule named holds it
	Cleared  Stand = "cleared" // no rule does any more
	NotKnown Stand = "unknown" // it could not be judged; is it still there?
)

// What a verdict is about.
const (
	ForRules    = "outbreak"
	ForAnalysis = "file analysis"
)

// Verdict travels from a gateway to a manager: which outbreak rule holds a
// message now (reference 2.6).
type Verdict struct {
	Key        mail.Key
	ManagerMID mail.MID
	For        string // ForRules or ForAnalysis
	Stand      Stand
	Rule       string // ByRule: its name
}

// EncodeVerdicts gives the one block that stands for verdicts.
func EncodeVerdicts(list []Verdict) ([]byte, error) {
	if len(list) == 0 || len(list) > MaxVerdicts {
		return nil, errs.New(errs.Invalid, "verdicts: there are 1 to %d in a block", MaxVerdicts)
	}
	e := encoder(make([]byte, 0, 128*len(list)))
	e.raw(`{"version":1,"verdicts":[`)
	for i := range list {
		v := &list[i]
		if err := v.check(); err != nil {
			return nil, err
		}
		if i > 0 {
			e.raw(",")
		}
		e.raw("{")
		e.text("key", string(v.Key))
		e.number(",manager_mid", uint64(v.ManagerMID))
		e.text(",for", v.For)
		e.text(",stand", string(v.Stand))
		e.text(",rule", v.Rule)
		e.raw("}")
	}
	e.raw("]}")
	return e, nil
}

// DecodeVerdicts reads a block. It takes exactly what EncodeVerdicts gives.
func DecodeVerdicts(block []byte) ([]Verdict, error) {
	if len(block) > MaxBlock {
		return nil, errs.New(errs.Invalid, "verdicts: block is longer than %d octets", MaxBlock)
	}
	d := decoder{s: string(block)}
	if !d.has(`{"version":1,`) {
		return nil, errs.New(errs.Invalid, "verdicts: this version is not understood, only 1")
	}
	d.expect(`"verdicts":[`)
	var list []Verdict
	for d.err == nil {
		d.expect("{")
		v := Verdict{
			Key:        mail.Key(d.text("key", 100)),
			ManagerMID: mail.MID(d.number(",manager_mid", math.MaxUint64)),
			For:        d.text(",for", 16),
			Stand:      Stand(d.text(",stand", 16)),
			Rule:       d.text(",rule", maxRule),
		}
		d.expect("}")
		if d.err == nil {
			d.err = v.check()
		}
		if list = append(list, v); len(list) > MaxVerdicts {
			d.fail("too many verdicts")
		}
		if !d.has(",") {
			break
		}
	}
	d.expect("]}")
	if d.err == nil && d.i < len(d.s) {
		d.fail("nothing is expected behind the end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return list, nil
}

func (v *Verdict) check() error {
	_, _, _, err := mail.ParseKey(string(v.Key))
	switch {
	case err != nil:
		return errs.Context(err, "verdicts: key")
	case v.ManagerMID == 0:
		return errs.New(errs.Invalid, "verdicts: mid is 0")
	case v.For != ForRules && v.For != ForAnalysis || v.For == ForAnalysis && v.Stand == ByRule:
		return errs.New(errs.Invalid, "verdicts: they are of outbreak rules, or of file analysis without a rule")
	case !slices.Contains([]Stand{ByRule, Cleared, NotKnown}, v.Stand):
		return errs.New(errs.Invalid, "verdicts: there is no such stand")
	case (v.Stand == ByRule) != (v.Rule != ""):
		return errs.New(errs.Invalid, "verdicts: what is held has a rule, and nothing else has")
	case v.Rule != "" && (len(v.Rule) > maxRule || mail.OutbreakRule(mail.OutbreakReason(v.Rule)) != v.Rule || ascii(v.Rule) != v.Rule):
		return errs.New(errs.Invalid, "verdicts: rule is no name of one")
	}
	return nil
}

// NewVerdictExtension makes the server's side of XVERDICT. take is asked about
// each sound block, with the Session of its connection.
func NewVerdictExtension(take func(ctx context.Context, sess smtp.Session, list []Verdict) smtp.Reply) smtp.Extension {
	return smtp.Extension{
		Verb: VerdictVerb, Keyword: VerdictKeyword, NeedTLS: true, MaxBlock: MaxBlock,
		Handle: func(ctx context.Context, sess smtp.Session, _ string, block io.Reader) smtp.Reply {
			b, err := io.ReadAll(block)
			if err != nil {
				return smtp.NewReply(451, "4.3.0", "verdicts did not come whole")
			}
			list, err := DecodeVerdicts(b)
			if err != nil {
				return refusal(err)
			}
			return take(ctx, sess, list)
		},
	}
}

// VerdictBlock makes the client's side.
func VerdictBlock(list []Verdict) (smtp.Block, error) {
	data, err := EncodeVerdicts(list)
	return smtp.Block{Verb: VerdictVerb, Data: data}, err
}

// goneWord stands in front of the places of messages that a manager does not
// hold any more.
const goneWord = "gone: "

// ReplyJudged answers verdicts that are on stable storage. gone are the places
// in the block, from 0, of messages that are not held any more: nothing needs to
// be said of them again.
func ReplyJudged(gone []int) smtp.Reply {
	words := make([]string, len(gone))
	for i, n := range gone {
		words[i] = strconv.Itoa(n)
	}
	return smtp.NewReply(250, "2.0.0", goneWord+strings.Join(words, " "))
}

// ParseJudged reads what ReplyJudged gives about n verdicts.
func ParseJudged(r smtp.Reply, n int) (gone []int, err error) {
	bad := errs.New(errs.Invalid, "reply %q says nothing about verdicts", r.String())
	if r.Code != 250 || len(r.Text) != 1 {
		return nil, bad
	}
	rest, ok := strings.CutPrefix(r.Text[0], goneWord)
	if !ok && r.Text[0]+" " != goneWord {
		return nil, bad
	}
	if strings.TrimSpace(rest) == "" || !ok {
		return nil, nil
	}
	for _, w := range strings.Split(rest, " ") {
		i, err := strconv.Atoi(w)
		if err != nil || i < 0 || i >= n || len(gone) > 0 && i <= gone[len(gone)-1] {
			return nil, bad
		}
		gone = append(gone, i)
	}
	return gone, nil
}
