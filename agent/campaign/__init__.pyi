from .campaign import CampaignError as CampaignError
from .campaign import run_campaign as run_campaign
