package message

import "slices"

// Kind names something that two readers of a message could understand
// differently, or that kept us from reading it to its end (register C1, C2).
// The names are part of the filter language (rule mime-finding).
type Kind string

// What readers disagree about.
const (
	DuplicateContentType Kind = "duplicate-content-type"
	DuplicateDisposition Kind = "duplicate-content-disposition"
	DuplicateEncoding    Kind = "duplicate-content-transfer-encoding"
	DuplicateParameter   Kind = "duplicate-parameter"
	BoundaryAmbiguous    Kind = "boundary-ambiguous" // two boundary parameters, or one of several readings
	BoundaryPrefix       Kind = "boundary-prefix"    // one delimiter is the beginning of another
	BoundaryMissing      Kind = "boundary-missing"   // multipart without a boundary parameter
	BoundaryNotFound     Kind = "boundary-not-found" // the boundary never occurs
	BoundaryUnclosed     Kind = "boundary-unclosed"  // no closing delimiter
	BoundaryMisplaced    Kind = "boundary-misplaced" // a boundary parameter in another field, or on another type than multipart
	BoundaryMalformed    Kind = "boundary-malformed" // too long, or with characters that it may not have
	PartAfterClose       Kind = "part-after-close"
	TextAfterClose       Kind = "text-after-close"
	MalformedParameter   Kind = "malformed-parameter"
	NameAmbiguous        Kind = "name-ambiguous"       // a file name has several readings
	EncodedName          Kind = "encoded-word-in-name" // RFC 2047 where only RFC 2231 may stand
	NULInHeader          Kind = "nul-in-header"
	BareCRInHeader       Kind = "bare-cr-in-header"
	GarbageInHeader      Kind = "garbage-in-header"
	UnfoldedLine         Kind = "unfolded-continuation"
	ContinuationFirst    Kind = "continuation-before-first-header"
	BlankContinuation    Kind = "blank-continuation"
	SpaceBeforeColon     Kind = "space-before-colon"
	CommentInName        Kind = "comment-in-header-name"
	BodyStartAmbiguous   Kind = "body-start-ambiguous" // it is not clear where encoded content begins
	HeaderCut            Kind = "header-cut-by-boundary"
	MissingBlankLine     Kind = "missing-blank-line"
	MalformedType        Kind = "malformed-content-type"
	UnknownEncoding      Kind = "unknown-encoding"
	UnknownCharset       Kind = "unknown-charset"
	EncodedContainer     Kind = "encoded-container" // base64 or quoted-printable on multipart or message
	TrailingBase64       Kind = "trailing-data-in-base64"
	DirtyBase64          Kind = "garbage-in-base64"
	DirtyQuoted          Kind = "garbage-in-quoted-printable"
	PartialMessage       Kind = "partial-message"
	ExternalBody         Kind = "external-body"
	UUEncoded            Kind = "uuencoded"
	YEncoded             Kind = "yencoded"
	DuplicateField       Kind = "duplicate-field" // a field twice that RFC 5322 section 3.6 allows once
	MIMEVersion          Kind = "mime-version"    // none, another than 1.0, or two, in front of parts
)

// What ended our reading: something in the message was not seen.
const (
	HeaderLimit    Kind = "header-limit"
	ParameterLimit Kind = "parameter-limit"
	DepthLimit     Kind = "depth-limit"
	PartLimit      Kind = "part-limit"
	RereadLimit    Kind = "reread-limit"
)

// Finding is one observation. Part is the path of the part, "" for the message itself.
type Finding struct {
	Kind Kind
	Part string
}

// Findings is what a reading found, each kind once per part, at most maxFindings.
type Findings []Finding

const maxFindings = 200

// Has reports whether one of the kinds was found.
func (fs Findings) Has(kinds ...Kind) bool {
	for _, f := range fs {
		if slices.Contains(kinds, f.Kind) {
			return true
		}
	}
	return false
}

// Unscannable gives the first finding that says that a part of the message was
// not seen: such a message is never "clean" (promise P3).
func (fs Findings) Unscannable() (Kind, bool) {
	for _, f := range fs {
		switch f.Kind {
		case HeaderLimit, ParameterLimit, DepthLimit, PartLimit, RereadLimit:
			return f.Kind, true
		}
	}
	return "", false
}

// hides are the kinds by which one reader sees a part that another does not:
// nobody writes such a message by accident, or hardly anybody.
var hides = [...]Kind{
	DuplicateContentType, DuplicateDisposition, DuplicateEncoding, BoundaryAmbiguous, BoundaryMisplaced, PartAfterClose,
	NULInHeader, BareCRInHeader, CommentInName, HeaderCut, BodyStartAmbiguous, EncodedContainer, PartialMessage,
}

// Ambiguous gives the first finding for which a message is held unless a
// policy says otherwise: two readers would see different parts.
func (fs Findings) Ambiguous() (Finding, bool) {
	for _, f := range fs {
		if slices.Contains(hides[:], f.Kind) {
			return f, true
		}
	}
	return Finding{}, false
}

// kinds has every kind with its sentence.
var kinds = [...]struct {
	Kind
	sentence string
}{
	{DuplicateContentType, "there are two Content-Type fields"},
	{DuplicateDisposition, "there are two Content-Disposition fields"},
	{DuplicateEncoding, "there are two Content-Transfer-Encoding fields"},
	{DuplicateParameter, "a parameter is given twice"},
	{BoundaryAmbiguous, "the boundary between the parts has several readings"},
	{BoundaryPrefix, "one boundary is the beginning of another"},
	{BoundaryMissing, "a message of several parts does not say what stands between them"},
	{BoundaryNotFound, "the boundary between the parts never occurs"},
	{BoundaryUnclosed, "the boundary behind the last part is missing"},
	{BoundaryMisplaced, "a boundary is given where it does not belong"},
	{BoundaryMalformed, "a boundary is longer than allowed, or has other characters"},
	{PartAfterClose, "there are parts behind the last part"},
	{TextAfterClose, "there is text behind the last part"},
	{MalformedParameter, "a parameter is not written as it must be"},
	{NameAmbiguous, "the name of a file has several readings"},
	{EncodedName, "the name of a file is encoded in a way that is not allowed there"},
	{NULInHeader, "there is a NUL in a header"},
	{BareCRInHeader, "there is a carriage return alone in a header"},
	{GarbageInHeader, "there is a line in a header that is no field"},
	{UnfoldedLine, "a line in a header looks like the rest of the one before"},
	{ContinuationFirst, "a header begins with the rest of a line"},
	{BlankContinuation, "there is a line of blanks in a header"},
	{SpaceBeforeColon, "there is a blank between a field's name and its colon"},
	{CommentInName, "there is a comment in the name of a field"},
	{BodyStartAmbiguous, "a line in a header may be the beginning of encoded content"},
	{HeaderCut, "a boundary stands inside a header"},
	{MissingBlankLine, "the blank line behind a header is missing"},
	{MalformedType, "a Content-Type is not written as it must be"},
	{UnknownEncoding, "a transfer encoding is unknown"},
	{UnknownCharset, "a charset is unknown"},
	{EncodedContainer, "a message of several parts is encoded as a whole, which is not allowed"},
	{TrailingBase64, "there is something behind the end of base64"},
	{DirtyBase64, "there are other characters in base64"},
	{DirtyQuoted, "there are escapes in quoted-printable that are none"},
	{PartialMessage, "the message is a piece of a larger one"},
	{ExternalBody, "the content lies elsewhere"},
	{UUEncoded, "there is a uuencoded file in the text"},
	{YEncoded, "there is a yEnc file in the text"},
	{DuplicateField, "a field is given twice that may be given once"},
	{MIMEVersion, "the message has parts but not the field MIME-Version: 1.0"},
	{HeaderLimit, "a header is larger than the limit"},
	{ParameterLimit, "a field has more parameters than the limit"},
	{DepthLimit, "parts lie deeper in each other than the limit"},
	{PartLimit, "there are more parts than the limit"},
	{RereadLimit, "more would have to be read twice than the limit"},
}

// Sentence says in words what was found, without a final stop.
func (k Kind) Sentence() string {
	for _, e := range kinds {
		if e.Kind == k {
			return e.sentence
		}
	}
	return string(k)
}

// Kinds gives every kind of finding, for the list in error texts.
func Kinds() []Kind {
	out := make([]Kind, len(kinds))
	for i, e := range kinds {
		out[i] = e.Kind
	}
	return out
}

// add notes a finding once. A limit is noted even when the list is full: it
// takes the last place.
func (fs *Findings) add(k Kind, part string) {
	f := Finding{k, part}
	if slices.Contains(*fs, f) {
		return
	}
	if len(*fs) < maxFindings {
		*fs = append(*fs, f)
		return
	}
	if _, over := (Findings{f}).Unscannable(); over {
		(*fs)[maxFindings-1] = f
	}
}
