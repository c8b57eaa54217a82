/** Class names of gestures and faces, each with the other names under which sets file the same drawing. */

export const gestureNames = `
call me: call me hand, hand call me, shaka, hand shaka | clapping: clapping hands, hand clap, hands clapping, clap
crossed fingers: hand fingers crossed, hand with index and middle fingers crossed | flexed biceps: biceps, biceps flexed, muscle
folded hands: hands praying, pray, praying hands, person with folded hands | handshake: hand shake | left facing fist: left fist
love you: love you gesture, hand love | middle finger: hand middle finger, reversed hand with middle finger extended
nail polish: nail care | ok: ok hand, hand ok, ok hand sign | oncoming fist: fisted hand, fisted hand sign, punch
open hands: open hands sign | palms up: palms up together | pinched fingers | pinching: pinching hand, hand pinch
pointing down: backhand index pointing down, hand point down, white down pointing backhand index, point down
pointing left: backhand index pointing left, hand point left, white left pointing backhand index, point left
pointing right: backhand index pointing right, hand point right, white right pointing backhand index, point right
pointing up: index pointing up, backhand index pointing up, hand point up, point up, white up pointing index
raised back of hand | raised fist: hand fist | raised hand: hand raised, hand stop | raising hands: raised hands
selfie | sign of the horns: hand rock, hand horns, sign of horns | splayed hand: hand with fingers splayed, raised hand with fingers splayed
thumbs down: thumb down, hand thumbs down | thumbs up: thumb up, hand thumbs up | victory: victory hand, hand peace, hand victory
vulcan salute: hand spock, raised hand with part between middle and ring fingers | waving: waving hand, hand wave, hand waving, waving hand sign
writing: writing hand`;

export const faceNames = `
angry face: face angry | angry face with horns | anguished face | anxious face with sweat | astonished face | beaming face with smiling eyes
clown face | confounded face | confused face | cowboy hat face | crying face | disappointed face | downcast face with sweat | drooling face
expressionless face | face blowing a kiss | face savoring food | face screaming in fear | face with head bandage | face with medical mask
face with open mouth | face with rolling eyes | face with steam from nose | face with tears of joy | face with thermometer | face with tongue
face without mouth | fearful face | flushed face | frowning face: frowning face with open mouth | grimacing face | grinning face
grinning face with big eyes | grinning face with smiling eyes | grinning face with sweat | grinning squinting face | hugging face: smiling face with open hands
hushed face | kissing face | kissing face with closed eyes | kissing face with smiling eyes | loudly crying face | lying face | money mouth face
nauseated face | nerd face | neutral face | pensive face | persevering face | pouting face: enraged face | relieved face | sad but relieved face
sleeping face | sleepy face | slightly frowning face | slightly smiling face | smiling face with halo | smiling face with heart eyes
smiling face with horns | smiling face with smiling eyes | smiling face with sunglasses | smirking face | sneezing face | squinting face with tongue
thinking face | tired face | unamused face | upside down face | weary face | winking face | winking face with tongue | worried face | zipper mouth face`;
