#include "frame_parser.h"

#include <string.h>

#define AT_VERSION 2u
#define AT_COMMAND 3u
#define AT_LENGTH 5u
#define AT_CHECK 7u

uint16_t frame_crc(uint16_t crc, const uint8_t *bytes, uint16_t count)
{
    while (count-- > 0) {
        uint8_t bit;
        crc ^= (uint16_t)((uint16_t)*bytes++ << 8);
        for (bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000u) ? (uint16_t)(crc << 1) ^ 0x1021u : (uint16_t)(crc << 1));
    }
    return crc;
}

void frame_forget(frame_parser *parser)
{
    parser->have = 0;
}

uint16_t frame_length(const frame_parser *parser)
{
    return (uint16_t)((uint16_t)(parser->bytes[AT_LENGTH] << 8) | parser->bytes[AT_LENGTH + 1]);
}

static uint8_t header_check(const uint8_t *bytes)
{
    return (uint8_t)frame_crc(0xFFFFu, bytes + AT_VERSION, AT_CHECK - AT_VERSION);
}

/* What was begun is no frame: go on with the next byte that may begin one. */
static void drop_false_start(frame_parser *parser)
{
    uint16_t first = 1;
    while (first < parser->have
           && !(parser->bytes[first] == FRAME_START_1
                && (first + 1u >= parser->have || parser->bytes[first + 1u] == FRAME_START_2)))
        first++;
    parser->have = (uint16_t)(parser->have - first);
    memmove(parser->bytes, parser->bytes + first, parser->have);
}

frame_result frame_take(frame_parser *parser, uint8_t byte, uint32_t now_ms)
{
    uint16_t whole;

    if (parser->have > 0 && (uint32_t)(now_ms - parser->heard_ms) > FRAME_GAP_MS)
        frame_forget(parser);
    parser->heard_ms = now_ms;
    parser->bytes[parser->have++] = byte;

    if (parser->have <= 2) {
        if (parser->bytes[0] != FRAME_START_1 || (parser->have == 2 && byte != FRAME_START_2))
            drop_false_start(parser);
        return FRAME_NONE;
    }
    if (parser->have < FRAME_HEADER)
        return FRAME_NONE;
    if (parser->have == FRAME_HEADER) {
        if (header_check(parser->bytes) != parser->bytes[AT_CHECK]) {
            drop_false_start(parser);
            return FRAME_NONE;
        }
        if (frame_length(parser) > FRAME_PAYLOAD) {
            frame_forget(parser);
            return FRAME_TOO_LONG;
        }
        return FRAME_NONE;
    }
    whole = (uint16_t)(FRAME_HEADER + frame_length(parser) + FRAME_CRC);
    if (parser->have < whole)
        return FRAME_NONE;
    frame_forget(parser);
    /* The CRC of bytes that end in their own CRC is 0. */
    return frame_crc(0xFFFFu, parser->bytes + AT_VERSION, (uint16_t)(whole - AT_VERSION)) == 0 ? FRAME_COMPLETE
                                                                                              : FRAME_BAD_CRC;
}

uint16_t frame_answer(frame_parser *parser, uint8_t version, uint16_t length)
{
    uint8_t *bytes = parser->bytes;
    uint16_t end = (uint16_t)(FRAME_HEADER + length), crc;
    bytes[0] = FRAME_START_1;
    bytes[1] = FRAME_START_2;
    bytes[AT_VERSION] = version;
    bytes[AT_COMMAND] |= 0x80u;
    bytes[AT_LENGTH] = (uint8_t)(length >> 8);
    bytes[AT_LENGTH + 1] = (uint8_t)length;
    bytes[AT_CHECK] = header_check(bytes);
    crc = frame_crc(0xFFFFu, bytes + AT_VERSION, (uint16_t)(end - AT_VERSION));
    bytes[end] = (uint8_t)(crc >> 8);
    bytes[end + 1u] = (uint8_t)crc;
    return (uint16_t)(end + FRAME_CRC);
}
