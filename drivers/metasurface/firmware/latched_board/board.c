#include "board.h"

#include <string.h>

static const char name[] = BOARD_NAME;

/* The compiler refuses a configuration that does not fit: an array has no negative size. */
typedef char bits_are_1_to_8[(BOARD_BITS >= 1 && BOARD_BITS <= 8) ? 1 : -1];
typedef char name_has_up_to_24_characters[sizeof name <= 25 ? 1 : -1];
typedef char sequence_is_1_to_65535[(BOARD_SEQUENCE >= 1 && BOARD_SEQUENCE <= 65535) ? 1 : -1];
typedef char frames_are_short_enough[BOARD_PATTERN_BITS / 8u <= 60000u ? 1 : -1];

static uint8_t *put8(uint8_t *to, uint8_t value)
{
    *to = value;
    return to + 1;
}

static uint8_t *put16(uint8_t *to, uint16_t value)
{
    return put8(put8(to, (uint8_t)(value >> 8)), (uint8_t)value);
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    return put16(put16(to, (uint16_t)(value >> 16)), (uint16_t)value);
}

static void latch(board *self)
{
    self->port.latch(self->port.context, self->pattern);
    self->latches++;
}

static void set_default(board *self)
{
    memset(self->pattern, BOARD_DEFAULT_BYTE, BOARD_PATTERN_BYTES);
    self->pattern[BOARD_PATTERN_BYTES - 1] &= (uint8_t)~BOARD_SPARE_MASK;
}

static int is_pattern(const uint8_t *bytes)
{
    return (bytes[BOARD_PATTERN_BYTES - 1] & BOARD_SPARE_MASK) == 0;
}

void board_start(board *self, const board_port *port)
{
    memset(self, 0, sizeof *self);
    self->port = *port;
    self->restarted = 1;
    set_default(self);
    latch(self);
    self->latches = 0;
}

/* Whether this frame is the last change once more, because its answer was lost; remembers it if not. */
static int again(board *self)
{
    const uint8_t *frame = self->parser.bytes;
    uint16_t length = frame_length(&self->parser);
    uint8_t key[sizeof self->done_bytes];
    int same;
    memcpy(key, frame + 3, 4);
    memcpy(key + 4, frame + FRAME_HEADER + length, FRAME_CRC);
    same = self->done && memcmp(key, self->done_bytes, sizeof key) == 0;
    memcpy(self->done_bytes, key, sizeof key);
    self->done = 1;
    return same;
}

/* Payload of an answer: status, flags, and what `status` OK adds. Returns its length. */
static uint16_t payload(board *self, uint8_t status, uint8_t *end)
{
    uint8_t *start = self->parser.bytes + FRAME_HEADER;
    start[0] = status;
    start[1] = self->restarted;
    return (uint16_t)(end - start);
}

static uint16_t refuse(board *self, uint8_t status)
{
    return payload(self, status, self->parser.bytes + FRAME_HEADER + 2);
}

/* Of a change: how often was latched, and which pattern it was about. */
static uint16_t changed(board *self, const uint8_t *pattern)
{
    uint16_t crc = frame_crc(0xFFFFu, pattern, BOARD_PATTERN_BYTES);
    return payload(self, BOARD_OK, put16(put16(self->parser.bytes + FRAME_HEADER + 2, self->latches), crc));
}

static uint16_t identify(board *self)
{
    uint8_t *to = self->parser.bytes + FRAME_HEADER + 2;
    to = put8(to, BOARD_VERSION);
    to = put8(to, BOARD_FIRMWARE_MAJOR);
    to = put8(to, BOARD_FIRMWARE_MINOR);
    to = put16(to, BOARD_ROWS);
    to = put16(to, BOARD_COLUMNS);
    to = put8(to, BOARD_BITS);
    to = put16(to, BOARD_SEQUENCE);
    to = put32(to, BOARD_SERIAL_NUMBER);
    to = put16(to, FRAME_PAYLOAD);
    to = put8(to, (uint8_t)((self->port.read_chain ? 0x01 : 0) | (BOARD_EMULATED ? 0x80 : 0)));
    memcpy(to, name, sizeof name - 1);
    return payload(self, BOARD_OK, to + sizeof name - 1);
}

static uint16_t read_back(board *self)
{
    uint8_t *to = self->parser.bytes + FRAME_HEADER + 2;
    to = put8(to, self->port.read_chain ? 1 : 0);
    to = put16(to, self->latches);
    if (self->port.read_chain)
        self->port.read_chain(self->port.context, self->pattern, to);
    else
        memcpy(to, self->pattern, BOARD_PATTERN_BYTES);
    return payload(self, BOARD_OK, to + BOARD_PATTERN_BYTES);
}

static uint16_t set(board *self, const uint8_t *pattern)
{
    if (!is_pattern(pattern))
        return refuse(self, BOARD_BAD_PATTERN);
    if (!again(self)) {
        memcpy(self->pattern, pattern, BOARD_PATTERN_BYTES);
        latch(self);
    }
    return changed(self, self->pattern);
}

static uint16_t safe(board *self)
{
    self->done = 0; /* never taken for one that was done already */
    set_default(self);
    latch(self);
    return changed(self, self->pattern);
}

static uint16_t store(board *self, uint16_t index, const uint8_t *pattern)
{
    if (index >= BOARD_SEQUENCE)
        return refuse(self, BOARD_BAD_INDEX);
    if (!is_pattern(pattern))
        return refuse(self, BOARD_BAD_PATTERN);
    if (!again(self)) {
        memcpy(self->sequence[index], pattern, BOARD_PATTERN_BYTES);
        self->stored[index / 8] |= (uint8_t)(1u << (index % 8));
    }
    return changed(self, self->sequence[index]);
}

static uint16_t show(board *self, uint16_t index)
{
    if (index >= BOARD_SEQUENCE)
        return refuse(self, BOARD_BAD_INDEX);
    if (!(self->stored[index / 8] & (1u << (index % 8))))
        return refuse(self, BOARD_NOT_STORED);
    if (!again(self)) {
        memcpy(self->pattern, self->sequence[index], BOARD_PATTERN_BYTES);
        latch(self);
    }
    return changed(self, self->pattern);
}

static uint16_t begin(board *self)
{
    if (!again(self)) {
        memset(self->stored, 0, sizeof self->stored);
        self->restarted = 0;
    }
    return changed(self, self->pattern);
}

/* Carry out a whole, checked frame; returns the length of the answer's payload. */
static uint16_t carry_out(board *self)
{
    const uint8_t *frame = self->parser.bytes, *given = frame + FRAME_HEADER;
    uint16_t length = frame_length(&self->parser), wanted, index = 0;
    if (frame[2] != BOARD_VERSION)
        return refuse(self, BOARD_BAD_VERSION);
    switch (frame[3]) {
    case BOARD_IDENTIFY:
    case BOARD_BEGIN:
    case BOARD_READ:
    case BOARD_SAFE:
        wanted = 0;
        break;
    case BOARD_SET:
        wanted = BOARD_PATTERN_BYTES;
        break;
    case BOARD_STORE:
        wanted = 2 + BOARD_PATTERN_BYTES;
        break;
    case BOARD_SHOW:
        wanted = 2;
        break;
    default:
        return refuse(self, BOARD_UNKNOWN_COMMAND);
    }
    if (length != wanted)
        return refuse(self, BOARD_BAD_LENGTH);
    if (frame[3] == BOARD_STORE || frame[3] == BOARD_SHOW)
        index = (uint16_t)((uint16_t)(given[0] << 8) | given[1]);
    switch (frame[3]) {
    case BOARD_IDENTIFY:
        return identify(self);
    case BOARD_BEGIN:
        return begin(self);
    case BOARD_READ:
        return read_back(self);
    case BOARD_SAFE:
        return safe(self);
    case BOARD_SET:
        return set(self, given);
    case BOARD_STORE:
        return store(self, index, given + 2);
    default:
        return show(self, index);
    }
}

uint16_t board_take(board *self, uint8_t byte, uint32_t now_ms)
{
    uint16_t length;
    frame_result result = frame_take(&self->parser, byte, now_ms);
    if (result != FRAME_NONE && (self->parser.bytes[3] & 0x80u))
        return 0; /* an answer, perhaps its own from a line that echoes: without end, if it were answered */
    switch (result) {
    case FRAME_COMPLETE:
        length = carry_out(self);
        break;
    case FRAME_BAD_CRC:
        length = refuse(self, BOARD_BAD_CRC);
        break;
    case FRAME_TOO_LONG:
        length = refuse(self, BOARD_BAD_LENGTH);
        break;
    default:
        return 0;
    }
    return frame_answer(&self->parser, BOARD_VERSION, length);
}
