package tracking

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// maxQuery is the longest question on its way, in base64.
const maxQuery = 16 << 10

// Encode gives the question as one word of a command line.
func (q Query) Encode() (string, error) {
	b, err := json.Marshal(q)
	return base64.RawURLEncoding.EncodeToString(b), errs.Wrap(errs.Internal, err, "encoding a question")
}

// DecodeQuery reads what Encode gave, and checks it.
func DecodeQuery(word string) (q Query, err error) {
	if len(word) > maxQuery {
		return q, errs.New(errs.Invalid, "the question is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(word)
	if err == nil {
		err = json.Unmarshal(b, &q)
	}
	if err != nil {
		return q, errs.Wrap(errs.Invalid, err, "the question is not one")
	}
	return q, q.Check()
}

// Encode gives the answer as one line of JSON of at most MaxAnswer bytes; what
// does not fit is left out, the oldest first, and that is said.
func (a Answer) Encode() ([]byte, error) {
	const frame = 8 << 10
	size, kept := 0, a.Messages
	for i, m := range a.Messages {
		b, err := json.Marshal(m)
		if err != nil {
			return nil, errs.Wrap(errs.Internal, err, "encoding an answer")
		}
		if size += len(b) + 1; size > MaxAnswer-frame {
			kept = a.Messages[:i]
			a.cut("the answer was too long: " + strconv.Itoa(len(a.Messages)-i) + " messages were left out")
			break
		}
	}
	a.Messages = kept
	b, err := json.Marshal(a)
	return b, errs.Wrap(errs.Internal, err, "encoding an answer")
}

// DecodeAnswer reads the answer of another appliance, which may be in hostile
// hands: who it says it is must be whom we asked.
func DecodeAnswer(b []byte, serial string) (a Answer, err error) {
	if len(b) > MaxWire {
		return a, errs.New(errs.Invalid, "the answer is longer than %d bytes", MaxWire)
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return Answer{}, errs.Wrap(errs.Invalid, err, "the answer is not the JSON that was expected")
	}
	if a.Version != Version || a.Serial != serial {
		return Answer{}, errs.New(errs.Denied, "the answer is not from %s, or of another version", serial)
	}
	if len(a.Messages) > maxFamily || len(a.Cut) > 16 {
		return Answer{}, errs.New(errs.Invalid, "the answer has too many parts")
	}
	seen := map[mail.MID]bool{}
	for _, m := range a.Messages {
		if m == nil || len(m.Recipients) > MaxRecipients || len(m.Links) > maxFamily {
			return Answer{}, errs.New(errs.Invalid, "the answer has a message that is none")
		}
		// A message follows what it was made from, so nothing goes in circles.
		if m.MID != 0 && seen[m.MID] || m.Of != 0 && !seen[m.Of] {
			return Answer{}, errs.New(errs.Invalid, "the answer has message %s twice, or before what it was made from", m.MID)
		}
		seen[m.MID] = true
	}
	return a, nil
}
