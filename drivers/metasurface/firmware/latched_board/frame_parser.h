/* Frames on the wire: bytes in, whole and checked frames out. C99, no allocation, nothing of Arduino's.
 *
 *     0   A5 5A       start
 *     2   version     of the protocol
 *     3   command     an answer: the command's with the highest bit set
 *     4   sequence    chosen by the host, repeated by the answer
 *     5   length      of the payload, two bytes
 *     7   check       low byte of the CRC-16 of bytes 2 to 6
 *     8   payload
 *     8+n CRC-16      of bytes 2 to 7+n
 *
 * Numbers of several bytes begin with the most significant. CRC-16/IBM-3740: polynomial 0x1021, begins with 0xFFFF,
 * neither reflected nor inverted; of "123456789" it is 0x29B1.
 *
 * A start that is followed by no right header is no start: the search goes on within those eight bytes. A right
 * header with a length that fits binds at most FRAME_PAYLOAD + 2 more bytes, and a silence of FRAME_GAP_MS ends it.
 */
#ifndef FRAME_PARSER_H
#define FRAME_PARSER_H

#include <stdint.h>

#include "board_config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FRAME_START_1 0xA5u
#define FRAME_START_2 0x5Au
#define FRAME_HEADER 8u
#define FRAME_CRC 2u
#define FRAME_GAP_MS 100u

/* Longest payload, in either direction: READ's answer, or that of IDENTIFY. */
#define FRAME_PAYLOAD (BOARD_PATTERN_BYTES + 5u > 48u ? BOARD_PATTERN_BYTES + 5u : 48u)
#define FRAME_BYTES (FRAME_HEADER + FRAME_PAYLOAD + FRAME_CRC)

typedef enum {
    FRAME_NONE,     /* not yet */
    FRAME_COMPLETE, /* whole, and its CRC is right */
    FRAME_BAD_CRC,  /* whole, its header is right, its CRC is not */
    FRAME_TOO_LONG  /* a right header asks for more than FRAME_PAYLOAD; what follows is searched for a start */
} frame_result;

typedef struct {
    uint8_t bytes[FRAME_BYTES];
    uint16_t have;     /* bytes of the frame that is begun */
    uint32_t heard_ms; /* when the last of them came */
} frame_parser;

void frame_forget(frame_parser *parser);

/* Take a byte that came at now_ms, which may wrap around. Unless it returns FRAME_NONE, the frame (of FRAME_TOO_LONG
 * the header alone) lies in parser->bytes until the next call, which begins a new one. */
frame_result frame_take(frame_parser *parser, uint8_t byte, uint32_t now_ms);

uint16_t frame_crc(uint16_t crc, const uint8_t *bytes, uint16_t count);

uint16_t frame_length(const frame_parser *parser);

/* Turn what lies in parser->bytes into an answer to it: `length` bytes of payload are already in place. Returns the
 * number of bytes to send. */
uint16_t frame_answer(frame_parser *parser, uint8_t version, uint16_t length);

#ifdef __cplusplus
}
#endif

#endif
